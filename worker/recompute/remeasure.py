"""Every number of a certificate, computed again from what is stored: `python -m worker.recompute FILE TOLERANCE`.

It runs where the database, the artifact store and the packages of the worker are, and prints one line of JSON. Where
the images to forget are destroyed already, what was measured on them cannot be computed again, and is marked so.
"""

import json
import math
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from service.registry.crypto import dsse
from service.registry.crypto.canonical_json import leaves
from service.registry.errors import RegistryError
from service.registry.images import archive
from service.registry.images.archive import LabelledImage
from service.registry.measurements.definitions import WITHOUT_IMAGES
from service.registry.measurements.schemas import of_request
from service.registry.states import Disposition
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.training_data.reference_models import LeftOut
from worker.anchors.anchors import AnchorsAltered
from worker.anchors.encoders import load_precomputed
from worker.evaluation.evaluation import Evaluation, device_of, evaluate, objections, probe_of
from worker.evaluation.reference_outputs import ReferenceOutputs, reference_outputs
from worker.inputs.images import as_batch, distinct_images
from worker.inputs.inputs import CheckpointAltered, Inputs, classifier, images_of, verified
from worker.job.progress_report import numbers
from worker.recompute.certified_records import Certified, certified_facts, read, recomputed_facts
from worker.settings import WorkerSettings
from worker.unlearning import SplitClassifier

#: Values that depend on which reference models take part.
_NEEDS_REFERENCES = re.compile(r"\.membership\.\w+\.(advantage|worst_attack|attacks\.(lira|rmia)\.\w+)$")

SAME, DIFFERS = "same", "differs"
NEEDS_IMAGES, NEEDS_REFERENCES = "needs the images", "needs the reference models"
CHANGED_SINCE = "changed since it was issued"  # as it may
OTHER_ENVIRONMENT = "another environment"


@dataclass(frozen=True)
class RecomputedValue:
    """One value of a certificate beside its recomputed value."""

    place: str
    certified: Any
    again: Any
    verdict: str


def main() -> None:
    """Recompute the certificate that the command line names, and print the result as JSON."""
    certificate, tolerance = sys.argv[1:]
    settings = WorkerSettings()
    database = Database(settings.resolved_database_url())
    content = Path(certificate).read_bytes()
    try:
        values = list(recompute(database, Artifacts(settings.data_dir), settings, content, float(tolerance)))
    except RegistryError as error:
        raise SystemExit(error.detail) from None
    holds = all(value.verdict != DIFFERS for value in values)
    print(json.dumps({"holds": holds, "numbers": [asdict(value) for value in values]}))  # noqa: T201  (what it is run for)


def recompute(
    database: Database, artifacts: Artifacts, settings: WorkerSettings, certificate: bytes, tolerance: float
) -> Iterator[RecomputedValue]:
    """Each value of a certificate beside the one recomputed from what is stored; `tolerance` is relative.

    Raises:
        NotAnEnvelope: the file is no certificate.
        RecordsMissing, CheckpointDestroyed: rows or checkpoints that it names are no longer stored.
        CheckpointAltered, EvaluationSetAltered, AnchorsAltered: what is stored is not what was certified.
    """
    statement = dsse.read(certificate)
    predicate = statement["predicate"]
    with database.read() as session:
        records = read(session, artifacts, statement)
    with database.read() as session:  # a new session: the first has cached these rows without all their relations
        facts = recomputed_facts(session, artifacts, records, statement, settings)
    yield from compare_values(dict(leaves(certified_facts(statement))), dict(leaves(facts)), tolerance)

    environment = predicate["environment"]["worker"]
    settings = settings.model_copy(update={"evaluation_batch": environment["evaluation_batch"]})
    has_images = all(request.samples is not None for request in records.inputs.requests)
    # Certificates of earlier releases have no such key: they were measured on whole sets.
    left_out = (predicate["measurements"]["after"] or {}).get("left_out")
    remeasured = _remeasure(records, artifacts, settings, has_images=has_images, left_out=left_out)
    measurements: Mapping[str, Any] = {}
    if remeasured:
        of_run = numbers({"before": asdict(remeasured.evaluation.before), "after": asdict(remeasured.evaluation.after)})
        measurements = of_request(remeasured.evaluation.by_request.get(records.request.id), of_run)
    certified_measurements = dict(leaves(predicate["measurements"], "measurements"))
    for value in compare_values(certified_measurements, dict(leaves(measurements, "measurements")), tolerance):
        if remeasured is None or not (has_images or _takes_no_images(value.place)):
            yield RecomputedValue(value.place, value.certified, None, NEEDS_IMAGES)
        elif not remeasured.has_all_references and _NEEDS_REFERENCES.search(value.place):
            yield RecomputedValue(value.place, value.certified, None, NEEDS_REFERENCES)
        else:
            yield value
    certified_objections = predicate["gate"]["objections"]
    if remeasured is None or not has_images:
        yield RecomputedValue("gate.objections", certified_objections, None, NEEDS_IMAGES)
    elif remeasured.has_all_references or records.inputs.options.goal != "indistinguishable":
        raised = objections(records.inputs, remeasured.evaluation, remeasured.unlearned)
        recomputed_objections = [str(objection) for objection in raised]
        yield from compare_values(
            {"gate.objections": certified_objections}, {"gate.objections": recomputed_objections}, tolerance
        )
    else:
        yield RecomputedValue("gate.objections", certified_objections, None, NEEDS_REFERENCES)


def compare_values(
    certified: Mapping[str, Any], again: Mapping[str, Any], tolerance: float
) -> Iterator[RecomputedValue]:
    """All values of either mapping, side by side."""
    for place in dict.fromkeys((*certified, *again)):
        before, now = certified.get(place), again.get(place)
        is_same = before == now
        if isinstance(before, float) and isinstance(now, float):  # what is counted is the same or is not
            is_same = math.isclose(before, now, rel_tol=tolerance, abs_tol=tolerance * 1e-2)
        yield RecomputedValue(place, before, now, SAME if is_same else _difference(place, before, now, certified))


def _difference(place: str, before: Any, now: Any, certified: Mapping[str, Any]) -> str:
    """The verdict on two values that differ: some may change after a certificate was issued."""
    if place.startswith("environment."):
        return OTHER_ENVIRONMENT
    if place.startswith("forget_set.images."):
        may_change = certified["forget_set.images.disposition"] != "destroyed"
    elif place.endswith(".disposition"):
        may_change = now is not None and before != Disposition.DELETED
    elif place == "parent.at":
        may_change = before is None
    elif place.startswith("reach.versions."):
        # A version that was reached stays so, and stays what it is. Others come, aliases move, requests are made.
        may_change = before is None or ".aliases." in place or (place.endswith(".state") and now is not None)
    else:
        may_change = False
    return CHANGED_SINCE if may_change else DIFFERS


@dataclass(frozen=True)
class _Remeasured:
    """The result of measuring both versions again."""

    evaluation: Evaluation
    unlearned: SplitClassifier
    has_all_references: bool  # all that membership inference had compared with, if it had


def _remeasure(
    records: Certified,
    artifacts: Artifacts,
    settings: WorkerSettings,
    *,
    has_images: bool,
    left_out: Mapping[str, int | None] | None,
) -> _Remeasured | None:
    """Measure both versions again; None without images to measure them on, or to tell what was left out by."""
    device = device_of(settings.device)
    inputs = records.inputs
    if not has_images and any((left_out or {}).values()):
        return None
    images, own = _forget_images(inputs, artifacts, settings) if has_images else (_placeholder_image(inputs), {})
    if not images:
        return None
    if has_images and left_out is not None:
        inputs = inputs.without(image for image, _ in images)
    references = (
        reference_outputs(inputs, artifacts, settings, images, device) if has_images else ReferenceOutputs([], None)
    )
    missing_references = {reference.left_out for reference in references.models}
    if LeftOut.ALTERED in missing_references:
        raise CheckpointAltered
    base = classifier(inputs.base, inputs.checkpoint, device)
    file = verified(artifacts.path(records.version.checkpoint), records.version.sha256, CheckpointAltered)
    unlearned = classifier(inputs.base, file, device)
    vectors = load_precomputed(
        verified(artifacts.path(records.anchors.anchors), records.anchors.sha256, AnchorsAltered), inputs.base.classes
    )
    probe = probe_of(inputs, base, torch.from_numpy(vectors).to(device), device)
    evaluation = evaluate(
        inputs,
        settings,
        device,
        base=base,
        unlearned=unlearned,
        forget=as_batch(images, inputs.preprocessing).to(device),
        own=own,
        probe=probe,
        references=references.log_odds,
    )
    return _Remeasured(evaluation, unlearned, has_all_references=missing_references <= {None})


def _forget_images(
    inputs: Inputs, artifacts: Artifacts, settings: WorkerSettings
) -> tuple[list[LabelledImage], dict[uuid.UUID, list[int]]]:
    return distinct_images({request.id: images_of(request, artifacts, settings) for request in inputs.requests})


def _placeholder_image(inputs: Inputs) -> list[LabelledImage]:
    """One image of an evaluation set in place of the images to forget; what depends on it is not reported."""
    measured = inputs.test or inputs.retain
    return [] if measured is None else list(archive.read(measured.file, [0]))


def _takes_no_images(place: str) -> bool:
    return any(place.removeprefix(f"measurements.{when}.").startswith(WITHOUT_IMAGES) for when in ("before", "after"))
