"""Evaluation of both versions of a run, and the objections of the quality gate to the new one."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from service.registry.models import quality_gate
from service.registry.models.quality_gate import GateMeasurements, Policy
from service.registry.reasons import Objection
from worker.evaluation.measurements import PROBE, Metrics, Probe, measure, measure_own
from worker.evaluation.outputs import ModelOutputs, collect_outputs
from worker.inputs.images import batches
from worker.inputs.inputs import Inputs, MeasuredSet
from worker.settings import WorkerSettings
from worker.unlearning import Batch, SplitClassifier, all_finite
from worker.unlearning.membership import References


@dataclass(frozen=True)
class Evaluation:
    """The metrics of both versions of a run."""

    before: Metrics
    after: Metrics
    by_request: dict[uuid.UUID, dict[str, Any]]  # of the images of each request, where there are several


def device_of(name: str) -> torch.device:
    """The device of the settings; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def probe_of(inputs: Inputs, model: SplitClassifier, anchors: torch.Tensor, device: torch.device) -> Probe | None:
    """The probe that collapse is measured on: first images of the retained set, or else of the test set, or None."""
    measured = inputs.retain or inputs.test
    if measured is None:
        return None
    images = batches(measured.file, inputs.preprocessing, size=PROBE, device=device, indices=measured.indices)
    return Probe(model, next(images).images, anchors)


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
    on_progress: Callable[[int, int], None] = lambda _images, _total: None,
) -> Evaluation:
    """Measure both versions; `own` has the indices in `forget` of each request's images.

    `on_progress` is called after each batch with the images of the evaluation sets done, and their total.
    """
    progress = _Progress(on_progress, 2 * sum(len(each.indices) for each in inputs.sets))
    base_outputs = _collect_outputs(inputs, base, forget, settings, device, progress)
    left_out = inputs.left_out
    before = measure(base, base_outputs, forget=forget, probe=probe, references=references, left_out=left_out)
    unlearned_outputs = _collect_outputs(inputs, unlearned, forget, settings, device, progress)
    after = measure(
        unlearned,
        unlearned_outputs,
        forget=forget,
        probe=probe,
        parent=base_outputs,
        references=references,
        left_out=left_out,
    )
    by_request = {
        request_id: {
            "before": measure_own(base, base_outputs, forget=forget, own=indices),
            "after": measure_own(unlearned, unlearned_outputs, forget=forget, own=indices),
        }
        for request_id, indices in own.items()
        if len(own) > 1
    }
    return Evaluation(before, after, by_request)


def objections(inputs: Inputs, evaluation: Evaluation, unlearned: SplitClassifier) -> list[Objection]:
    """Why the new version needs review; empty when it passes."""
    return quality_gate.objections(
        Policy.model_validate(inputs.model.policy),
        inputs.options,
        GateMeasurements(
            forget_accuracy=evaluation.after.forget_accuracy,
            robust_forget_accuracy=evaluation.after.robust_forget_accuracy,
            membership_advantage=evaluation.after.membership_advantage(),
            test_accuracy_before=evaluation.before.test_accuracy,
            test_accuracy_after=evaluation.after.test_accuracy,
            collapse=evaluation.after.collapse,
            finite=all_finite(unlearned),
        ),
    )


class _Progress:
    def __init__(self, on_progress: Callable[[int, int], None], total: int) -> None:
        self._on_progress, self._total, self._shown = on_progress, total, 0

    def track(self, image_batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass the batches on, and report each once the consumer asks for the next."""
        for batch in image_batches:
            yield batch
            self._shown += len(batch)
            self._on_progress(self._shown, self._total)


def _collect_outputs(
    inputs: Inputs,
    model: SplitClassifier,
    forget: Batch,
    settings: WorkerSettings,
    device: torch.device,
    progress: _Progress,
) -> ModelOutputs:
    def read(measured: MeasuredSet | None) -> Iterator[Batch] | None:
        if measured is None:
            return None
        size, indices = settings.evaluation_batch, measured.indices
        return progress.track(batches(measured.file, inputs.preprocessing, size=size, device=device, indices=indices))

    return collect_outputs(model, forget=forget, test=read(inputs.test), retain=read(inputs.retain))
