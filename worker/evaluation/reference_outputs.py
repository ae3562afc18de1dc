"""Log odds of reference models on the images, one model after the other; one number per image is kept."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from service.registry.images.archive import LabelledImage
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import MIN_UNSEEN_IMAGES
from service.registry.storage.artifacts import Artifacts
from service.registry.training_data.reference_models import LeftOut
from worker.evaluation.outputs import sampled_indices
from worker.inputs.images import as_batch, batches
from worker.inputs.inputs import CheckpointAltered, Inputs, ReferenceModel, classifier, verified
from worker.settings import WorkerSettings
from worker.unlearning import Batch, SplitClassifier, outputs
from worker.unlearning.membership import References
from worker.unlearning.references import log_odds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceOutputs:
    """The reference models of a run, and their log odds."""

    models: list[ReferenceModel]  # all that the options name
    log_odds: References | None  # of those that are not left out, in their order


def reference_outputs(
    inputs: Inputs,
    artifacts: Artifacts,
    settings: WorkerSettings,
    images: Sequence[LabelledImage],
    device: torch.device,
) -> ReferenceOutputs:
    """Run each reference model on the images to forget, and on the test images whose outputs are kept.

    One whose checkpoint is missing or altered is left out: it must not hold up a deletion request.
    """
    unseen = inputs.test
    if not inputs.references or unseen is None or len(unseen.indices) < MIN_UNSEEN_IMAGES:
        return ReferenceOutputs(
            [replace(reference, left_out=LeftOut.NO_TEST_SET) for reference in inputs.references], None
        )
    sample = sampled_indices(len(unseen.indices), batch=settings.evaluation_batch)
    indices = [unseen.indices[at] for at in sample]

    def outputs_of(reference: ReferenceModel) -> tuple[Tensor, Tensor] | LeftOut:
        model = _load(reference, artifacts, device)
        if isinstance(model, LeftOut):
            return model
        preprocessing = Preprocessing.model_validate(reference.version.preprocessing)
        test = batches(unseen.file, preprocessing, size=settings.evaluation_batch, device=device, indices=indices)
        return _log_odds(model, [as_batch(images, preprocessing).to(device)]), _log_odds(model, test)

    models, results = [], []
    for reference in inputs.references:
        result = outputs_of(reference)
        if isinstance(result, LeftOut):
            logger.warning("reference %s is left out: %s", reference.version.id, result)
            models.append(replace(reference, left_out=result))
        else:
            models.append(reference)
            results.append(result)
    return ReferenceOutputs(models, References(*map(torch.stack, zip(*results, strict=True))) if results else None)


def _load(reference: ReferenceModel, artifacts: Artifacts, device: torch.device) -> SplitClassifier | LeftOut:
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


def _log_odds(model: SplitClassifier, image_batches: Iterable[Batch]) -> Tensor:
    return torch.cat([log_odds(outputs(model, batch.images)[1], batch.labels) for batch in image_batches])
