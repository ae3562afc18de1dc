"""Both versions of a run on everything there is to measure them on, and what the gate says of it."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.registry.models import quality_gate
from service.registry.models.quality_gate import GateMeasurements, Policy
from service.registry.reasons import Objection
from worker.evaluation.metrics import PROBE, Metrics, Probe, measure, measure_own
from worker.evaluation.outputs import Seen, see
from worker.inputs.images import batches
from worker.inputs.inputs import Inputs
from worker.settings import WorkerSettings
from worker.unlearning import Batch, SplitClassifier, all_finite
from worker.unlearning.membership import References


@dataclass(frozen=True)
class Evaluation:
    """What was measured before and after."""

    before: Metrics
    after: Metrics
    of_each: dict[uuid.UUID, dict[str, Any]]  # of the images of each request, where there are several


def device_of(name: str) -> torch.device:
    """The device of the settings; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def probe_of(inputs: Inputs, model: SplitClassifier, anchors: torch.Tensor, device: torch.device) -> Probe | None:
    """What collapse is measured on: the first images of the retained set, or else of the test set."""
    path = inputs.retain or inputs.test
    if path is None:
        return None
    return Probe(model, next(batches(path, inputs.preprocessing, size=PROBE, device=device)).images, anchors)


def evaluate(
    inputs: Inputs,
    settings: WorkerSettings,
    device: torch.device,
    *,
    base: SplitClassifier,
    unlearned: SplitClassifier,
    forget: Batch,
    own: Mapping[uuid.UUID, list[int]],
    probe: Probe | None,
    references: References | None,
    tell: Callable[[int, int], None] = lambda _images, _total: None,
) -> Evaluation:
    """Measure both; `own` says which of the images to forget are each request's.

    `tell` is called again and again with how many images of the evaluation sets have been shown, and how many will be.
    """
    progress = _Progress(tell, 2 * sum(kept.count for kept in inputs.sets))
    known = _see(inputs, base, forget, settings, device, progress)
    before = measure(base, known, forget=forget, probe=probe, references=references)
    now = _see(inputs, unlearned, forget, settings, device, progress)
    after = measure(unlearned, now, forget=forget, probe=probe, parent=known, references=references)
    of_each = {
        request_id: {
            "before": measure_own(base, known, forget=forget, own=mine),
            "after": measure_own(unlearned, now, forget=forget, own=mine),
        }
        for request_id, mine in own.items()
        if len(own) > 1
    }
    return Evaluation(before, after, of_each)


def objections(inputs: Inputs, found: Evaluation, unlearned: SplitClassifier) -> list[Objection]:
    """Why the new version needs review; empty when it passes."""
    return quality_gate.objections(
        Policy.model_validate(inputs.model.policy),
        inputs.options,
        GateMeasurements(
            forget_accuracy=found.after.forget_accuracy,
            robust_forget_accuracy=found.after.robust_forget_accuracy,
            membership_advantage=found.after.membership_advantage(),
            test_accuracy_before=found.before.test_accuracy,
            test_accuracy_after=found.after.test_accuracy,
            collapse=found.after.collapse,
            finite=all_finite(unlearned),
        ),
    )


class _Progress:
    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self._tell, self._total, self._shown = tell, total, 0

    def over(self, shown: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; one that is asked for after another tells that this was shown."""
        for batch in shown:
            yield batch
            self._shown += len(batch)
            self._tell(self._shown, self._total)


def _see(
    inputs: Inputs,
    model: SplitClassifier,
    forget: Batch,
    settings: WorkerSettings,
    device: torch.device,
    progress: _Progress,
) -> Seen:
    def read(path: Path | None) -> Iterator[Batch] | None:
        if path is None:
            return None
        return progress.over(batches(path, inputs.preprocessing, size=settings.evaluation_batch, device=device))

    return see(model, forget=forget, test=read(inputs.test), retain=read(inputs.retain))
