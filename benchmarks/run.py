"""One run: a method forgets one set of images, and everything is measured.

`python -m benchmarks.run '{"dataset": "digits", …}'` is how `benchmarks.campaign` starts it, each time in a process of
its own, so that its peak memory is its own. It prints the result as one line of JSON.
"""

import copy
import hashlib
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks import cifar10, methods
from benchmarks.data import Dataset, Images, dataset
from benchmarks.networks import classifier
from benchmarks.watch import Watch
from worker.anchors.attributes import descriptions
from worker.anchors.encoders import MiniLM
from worker.evaluation.measurements import PROBE, Probe
from worker.unlearning import (
    Batch,
    SplitClassifier,
    all_finite,
    batch_margins,
    forget_accuracy,
    outputs,
    robust_forget_accuracy,
)
from worker.unlearning.membership import membership
from worker.unlearning.precision import has_bfloat16
from worker.unlearning.relearning import generalising_relearning, relearning_steps
from worker.unlearning.retrieval import retrieval
from worker.unlearning.similarity import agreement, jensen_shannon, linear_cka, mean_cosine

Anchors = Literal["clip", "minilm", "rows", "random", "prototypes"]
ANCHORS: dict[str, Anchors] = {"cifar10": "clip", "fashion-mnist": "minilm"}  # the other sets' classes are numerals

RETAINED_SEED = 2**31  # of the order in which retained images are taken; forget sets have small seeds
MEASURED_IMAGES = 5_000  # retained images behind A_r, or half of them where there are fewer
METHOD_IMAGES = 20_000  # further retained images, for the methods that ask for some
QUERIES = 500  # retained images that search among the others
CACHE = Path(__file__).parent / ".cache"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run; two with equal fields and equal settings of the method have equal results on one machine."""

    dataset: str
    model: str
    method: str
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the method's settings
    anchors: Anchors
    k: int  # images to forget
    rounds: int = 1  # in which they come, of equal size
    drawn: Literal["anywhere", "from one class"] = "anywhere"
    seed: int
    device: str = "cpu"


@dataclass(frozen=True)
class Parts:
    """Indices of training images (n,), disjoint."""

    forget: np.ndarray
    measured: np.ndarray  # retained, for A_r
    for_method: np.ndarray  # retained, for the methods that use some


def draw(labels: np.ndarray, run: Run) -> Parts:
    """The forget set and retained sets, the same for every method.

    Raises ValueError if there are not k images, or they make no equal rounds.
    """
    order = _permutation(len(labels), run.seed)
    if run.drawn == "from one class":
        order = order[labels[order] == forgotten_class(labels, run.seed)]
    if len(order) < run.k or run.k % run.rounds:
        raise ValueError(f"{run.k} images in {run.rounds} equal rounds cannot be drawn from {len(order)}")
    forget = order[: run.k]
    retained = _permutation(len(labels), RETAINED_SEED)
    retained = retained[~np.isin(retained, forget)]
    measured, further = np.split(retained, [min(MEASURED_IMAGES, len(retained) // 2)])
    return Parts(forget, measured, further[:METHOD_IMAGES])


def forgotten_class(labels: np.ndarray, seed: int) -> int:
    """The class of the forget set of a run whose images are `drawn` from one class."""
    return seed % (int(labels.max()) + 1)


def _permutation(count: int, seed: int) -> np.ndarray:
    order: np.ndarray = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    return order


def execute(run: Run) -> dict[str, Any]:
    """Run and measure; the fields of the run, the method's settings, and all results by name."""
    data = dataset(run.dataset)
    parts = draw(data.train.labels, run)
    config = methods.settings(run.method, run.overrides)
    original = classifier(run.model, data).to(run.device)
    model = copy.deepcopy(original)
    forget = data.train.batch(parts.forget).to(run.device)
    anchors = _anchors(run.anchors, data, original, parts, run)
    # Collapse compares between runs only if all of them measure it against the same anchors.
    kind = ANCHORS.get(data.name, "rows")
    probe_anchors = anchors if run.anchors == kind else _anchors(kind, data, original, parts, run)
    probe_batch = data.test.batch(np.arange(min(PROBE, len(data.test)))).to(run.device)
    directions = original.head.weight.detach() if probe_anchors is None else probe_anchors.to(run.device)
    probe = Probe(original, probe_batch.images, directions)

    memory_before = _peak_memory(run.device)
    watch, rounds = Watch(run.device), list[dict[str, Any]]()
    rng = torch.Generator().manual_seed(run.seed)
    requests = [
        Batch(x, y) for x, y in zip(*(t.chunk(run.rounds) for t in (forget.images, forget.labels)), strict=True)
    ]
    for number, request in enumerate(requests, 1):
        steps = methods.steps(
            config,
            model,
            request,
            retained=lambda: data.train.batch(parts.for_method).to(run.device),
            unseen=lambda: batch_margins(model, data.test.batch(np.arange(0, len(data.test), 2)).to(run.device)),
            anchors=None if anchors is None else anchors.to(run.device),
            rng=rng,
        )
        watch.follow(steps, lambda: probe.collapse(model))
        if run.rounds > 1:
            rounds.append({"forget_accuracy": [forget_accuracy(model, earlier) for earlier in requests[:number]]})
    peak = _peak_memory(run.device)

    began = time.perf_counter()
    results = _evaluate(original, model, data, parts, forget, run)
    return {
        **asdict(run),
        "settings": methods.as_json(config),
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
        "peak_memory": peak,
        "memory_before": memory_before,
        "updates": watch.updates,
        "phases": watch.phases,
        "evaluation_seconds": time.perf_counter() - began,
        "collapse": watch.curve[-1][1],
        "mean_collapse": statistics.mean(value for _, value in watch.curve[1:]),
        "curve": watch.curve,
        "by_round": rounds,
        **results,
        "machine": _machine(run.device),
        "bfloat16": has_bfloat16(torch.device(run.device)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _anchors(kind: Anchors, data: Dataset, model: SplitClassifier, parts: Parts, run: Run) -> Tensor | None:
    """Anchors (b, a) of the b classes, or None for the rows of the classifier."""
    if kind == "clip":
        if data.name != "cifar10":
            raise ValueError("CLIP's embeddings are at hand for the classes of CIFAR-10 only")
        return cifar10.clip_anchors()
    if kind == "minilm":
        # In another process, because the encoder needs more memory than most runs do.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return torch.from_numpy(pool.submit(_minilm, data.classes).result())
    if kind == "random":
        return torch.randn(len(data.classes), 512, generator=torch.Generator().manual_seed(run.seed))
    if kind == "prototypes":
        batch = data.train.batch(parts.for_method).to(run.device)
        features, _ = outputs(model, batch.images)
        return torch.stack([features[batch.labels == c].mean(0) for c in range(len(data.classes))])
    return None


def _minilm(classes: list[str]) -> np.ndarray:
    return MiniLM().encode(descriptions(classes))


def _evaluate(
    original: SplitClassifier, model: SplitClassifier, data: Dataset, parts: Parts, forget: Batch, run: Run
) -> dict[str, Any]:
    def outputs_of(network: SplitClassifier, images: Images, indices: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        batch = images.batch(indices).to(run.device)
        return *outputs(network, batch.images), batch.labels

    original, model = (m.to(memory_format=torch.channels_last) for m in (original, model))  # a third less time
    features_before, logits_before = _original_outputs(original, data, run)
    features, logits, labels = outputs_of(model, data.test, np.arange(len(data.test)))
    kept_features, kept_logits, kept_labels = outputs_of(model, data.train, parts.measured)
    forget_features, forget_logits = outputs(model, forget.images)
    queries = torch.arange(min(QUERIES, len(kept_labels)), device=kept_labels.device)
    retrievals = {
        "retained": retrieval(kept_features[queries], kept_labels[queries], kept_features, kept_labels, own=queries),
        "forgotten": retrieval(forget_features, forget.labels, kept_features, kept_labels),
    }
    views = robust_forget_accuracy(model, forget)
    return {
        "finite": all_finite(model),
        "forget_accuracy": forget_accuracy(model, forget),
        "forget_accuracy_before": forget_accuracy(original, forget),
        "robust_forget_accuracy": statistics.mean(views.values()),
        "robust_forget_accuracy_by_view": views,
        "test_accuracy": _accuracy(logits, labels),
        "test_accuracy_before": _accuracy(logits_before, labels),
        "test_accuracy_by_class": _by_class(logits, labels),
        "test_accuracy_by_class_before": _by_class(logits_before, labels),
        "forgotten_class": forgotten_class(data.train.labels, run.seed) if run.drawn == "from one class" else None,
        "retain_accuracy": _accuracy(kept_logits, kept_labels),
        # The even ones may have been the standard of the goal "indistinguishable".
        "membership": asdict(membership(forget_logits, forget.labels, logits[1::2], labels[1::2])),
        "retrieval": {name: asdict(figures) if figures else None for name, figures in retrievals.items()},
        "similarity": {
            "cosine": mean_cosine(features, features_before),
            "cka": linear_cka(features, features_before),
            "agreement": agreement(logits, logits_before),
            "jensen_shannon": jensen_shannon(logits, logits_before),
        },
        "relearning": {
            "steps": relearning_steps(model, forget, rng=torch.Generator().manual_seed(run.seed)),
            "generalises": generalising_relearning(model, forget, rng=torch.Generator().manual_seed(run.seed)),
        },
    }


def _original_outputs(original: SplitClassifier, data: Dataset, run: Run) -> tuple[Tensor, Tensor]:
    """The original's features and logits of all test images, which the first run computes and caches."""
    weights = b"".join(t.cpu().contiguous().numpy().tobytes() for t in original.state_dict().values())
    cache_file = CACHE / f"{run.dataset}-{run.model}-{hashlib.sha256(weights).hexdigest()[:16]}.pt"
    if not cache_file.exists():
        CACHE.mkdir(exist_ok=True)
        batch = data.test.batch(np.arange(len(data.test))).to(run.device)
        temporary_file = cache_file.with_suffix(f".{os.getpid()}")
        torch.save([t.cpu() for t in outputs(original, batch.images)], temporary_file)
        temporary_file.replace(cache_file)
    features, logits = torch.load(cache_file, weights_only=True, map_location=run.device)
    return features, logits


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * (logits.argmax(1) == labels).double().mean().item()


def _by_class(logits: Tensor, labels: Tensor) -> list[float]:
    return [_accuracy(logits[labels == c], labels[labels == c]) for c in range(logits.shape[1])]


def _peak_memory(device: str) -> float:
    """Peak MiB: on CUDA of its tensors, otherwise the resident set of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    print(json.dumps(execute(Run(**json.loads(sys.argv[1])))))
