"""What reference models make of the images: one after the other, and of each no more is kept than a number an image."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from service.registry.images.archive import LabelledImage
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import LEAST_UNSEEN
from service.registry.storage.artifacts import Artifacts
from service.registry.training_data.reference_models import LeftOut
from worker.evaluation.outputs import kept_places
from worker.inputs.images import as_batch, batches
from worker.inputs.inputs import CheckpointAltered, Inputs, ReferenceModel, classifier, verified
from worker.settings import WorkerSettings
from worker.unlearning import Batch, SplitClassifier, outputs
from worker.unlearning.membership import References
from worker.unlearning.references import log_odds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """What membership inference compares with."""

    models: list[ReferenceModel]  # those that were asked for
    odds: References | None  # of those that are not left out, in their order


def compare(
    inputs: Inputs,
    artifacts: Artifacts,
    settings: WorkerSettings,
    images: Sequence[LabelledImage],
    device: torch.device,
) -> Compared:
    """Show each reference the images to forget, and the test images whose outputs are kept of every version.

    One whose checkpoint is not there is left out: what a person has asked for does not wait for it.
    """
    unseen, count = inputs.test, next((kept.count for kept in inputs.sets if kept.kind == "test"), 0)
    if not inputs.references or unseen is None or count < LEAST_UNSEEN:
        return Compared([replace(one, left_out=LeftOut.NO_TEST_SET) for one in inputs.references], None)
    indices = kept_places(count, batch=settings.evaluation_batch)

    def shown(reference: ReferenceModel) -> tuple[Tensor, Tensor] | LeftOut:
        model = _loaded(reference, artifacts, device)
        if isinstance(model, LeftOut):
            return model
        own = Preprocessing.model_validate(reference.version.preprocessing)
        test = batches(unseen, own, size=settings.evaluation_batch, device=device, indices=indices)
        return _odds(model, [as_batch(images, own).to(device)]), _odds(model, test)

    models, odds = [], []
    for reference in inputs.references:
        found = shown(reference)
        if isinstance(found, LeftOut):
            logger.warning("reference %s is left out: %s", reference.version.id, found)
            models.append(replace(reference, left_out=found))
        else:
            models.append(reference)
            odds.append(found)
    return Compared(models, References(*map(torch.stack, zip(*odds, strict=True))) if odds else None)


def _loaded(reference: ReferenceModel, artifacts: Artifacts, device: torch.device) -> SplitClassifier | LeftOut:
    if reference.left_out is not None:
        return reference.left_out
    version = reference.version
    try:
        file = verified(artifacts.path(version.checkpoint), version.sha256, CheckpointAltered)
        return classifier(version, file, device)
    except FileNotFoundError:  # a version may be deleted though a run compares with it
        return LeftOut.MISSING
    except CheckpointAltered:
        return LeftOut.ALTERED


def _odds(model: SplitClassifier, shown: Iterable[Batch]) -> Tensor:
    return torch.cat([log_odds(outputs(model, batch.images)[1], batch.labels) for batch in shown])
