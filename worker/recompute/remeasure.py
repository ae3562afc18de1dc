"""Every number of a certificate, computed again from what is stored: `python -m worker.recompute FILE TOLERANCE`.

It runs where the database, the artifact store and the packages of the worker are, and prints one line of JSON. Where
the images to forget are destroyed already, what was measured on them cannot be computed again, and is told apart.
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
from worker.evaluation.reference_models import Compared, compare
from worker.inputs.images import as_batch, distinct_images
from worker.inputs.inputs import CheckpointAltered, Inputs, classifier, images_of, verified
from worker.job.progress_report import numbers
from worker.recompute.certified_records import Certified, read, told, told_now
from worker.settings import WorkerSettings
from worker.unlearning import SplitClassifier

#: What is another value with other reference models.
_BY_REFERENCES = re.compile(r"\.membership\.\w+\.(advantage|worst_attack|attacks\.(lira|rmia)\.\w+)$")

SAME, DIFFERS = "same", "differs"
NEEDS_IMAGES, NEEDS_REFERENCES = "needs the images", "needs the reference models"
SINCE = "changed since it was issued"  # as it may
ELSEWHERE = "another environment"


@dataclass(frozen=True)
class Again:
    """One value of a certificate, and what came of computing it again."""

    place: str
    certified: Any
    again: Any
    verdict: str


def main() -> None:
    """Compute, and print what came of it."""
    certificate, tolerance = sys.argv[1:]
    settings = WorkerSettings()
    database = Database(settings.resolved_database_url())
    content = Path(certificate).read_bytes()
    try:
        found = list(recompute(database, Artifacts(settings.data_dir), settings, content, float(tolerance)))
    except RegistryError as error:
        raise SystemExit(error.detail) from None
    holds = all(one.verdict != DIFFERS for one in found)
    print(json.dumps({"holds": holds, "numbers": [asdict(one) for one in found]}))  # noqa: T201  (what it is run for)


def recompute(
    database: Database, artifacts: Artifacts, settings: WorkerSettings, certificate: bytes, tolerance: float
) -> Iterator[Again]:
    """Each value of a certificate beside the same from what is stored; `tolerance` is relative.

    Raises:
        NotAnEnvelope: it is no certificate.
        RecordsMissing, CheckpointDestroyed: what it is about is not there.
        CheckpointAltered, EvaluationSetAltered, AnchorsAltered: what is stored is not what was certified.
    """
    statement = dsse.read(certificate)
    said = statement["predicate"]
    with database.read() as session:
        found = read(session, artifacts, statement)
    with database.read() as session:  # which has not seen these rows with less of what belongs to them
        now = told_now(session, artifacts, found, statement, settings)
    yield from compared(dict(leaves(told(statement))), dict(leaves(now)), tolerance)

    was = said["environment"]["worker"]
    settings = settings.model_copy(update={"evaluation_batch": was["evaluation_batch"]})
    has_images = all(request.samples is not None for request in found.inputs.requests)
    again = _measured_again(found, artifacts, settings, has_images=has_images)
    measured: Mapping[str, Any] = {}
    if again:
        of_run = numbers({"before": asdict(again.found.before), "after": asdict(again.found.after)})
        measured = of_request(again.found.of_each.get(found.request.id), of_run)
    certified = dict(leaves(said["measurements"], "measurements"))
    for one in compared(certified, dict(leaves(measured, "measurements")), tolerance):
        if again is None or not (has_images or _takes_no_images(one.place)):
            yield Again(one.place, one.certified, None, NEEDS_IMAGES)
        elif not again.has_references and _BY_REFERENCES.search(one.place):
            yield Again(one.place, one.certified, None, NEEDS_REFERENCES)
        else:
            yield one
    objected = said["gate"]["objections"]
    if again is None or not has_images:
        yield Again("gate.objections", objected, None, NEEDS_IMAGES)
    elif again.has_references or found.inputs.options.goal != "indistinguishable":
        objects = [str(one) for one in objections(found.inputs, again.found, again.unlearned)]
        yield from compared({"gate.objections": objected}, {"gate.objections": objects}, tolerance)
    else:
        yield Again("gate.objections", objected, None, NEEDS_REFERENCES)


def compared(certified: Mapping[str, Any], again: Mapping[str, Any], tolerance: float) -> Iterator[Again]:
    """Every value that is here or there, side by side."""
    for place in dict.fromkeys((*certified, *again)):
        one, other = certified.get(place), again.get(place)
        is_same = one == other
        if isinstance(one, float) and isinstance(other, float):  # what is counted is the same or is not
            is_same = math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance * 1e-2)
        yield Again(place, one, other, SAME if is_same else _difference(place, one, other, certified))


def _difference(place: str, one: Any, other: Any, certified: Mapping[str, Any]) -> str:
    """What it means that something is not as it was."""
    if place.startswith("environment."):
        return ELSEWHERE
    if place.startswith("forget_set.images."):
        may_change = certified["forget_set.images.disposition"] != "destroyed"
    elif place.endswith(".disposition"):
        may_change = other is not None and one != Disposition.DELETED
    elif place == "parent.at":
        may_change = one is None
    elif place.startswith("reach.versions."):
        # A version that was reached stays so, and stays what it is. Others come, aliases move, requests are made.
        may_change = one is None or ".aliases." in place or (place.endswith(".state") and other is not None)
    else:
        may_change = False
    return SINCE if may_change else DIFFERS


@dataclass(frozen=True)
class _Measured:
    """What both versions are measured to be now."""

    found: Evaluation
    unlearned: SplitClassifier
    has_references: bool  # all that membership inference had compared with, if it had


def _measured_again(
    found: Certified, artifacts: Artifacts, settings: WorkerSettings, *, has_images: bool
) -> _Measured | None:
    """Both versions once more; nothing if there is nothing to measure them on."""
    device = device_of(settings.device)
    inputs = found.inputs
    images, own = _images(inputs, artifacts, settings) if has_images else (_stand_in(inputs), {})
    if not images:
        return None
    compared_with = compare(inputs, artifacts, settings, images, device) if has_images else Compared([], None)
    left_out = {one.left_out for one in compared_with.models}
    if LeftOut.ALTERED in left_out:
        raise CheckpointAltered
    base = classifier(inputs.base, inputs.checkpoint, device)
    file = verified(artifacts.path(found.version.checkpoint), found.version.sha256, CheckpointAltered)
    unlearned = classifier(inputs.base, file, device)
    vectors = load_precomputed(
        verified(artifacts.path(found.anchors.anchors), found.anchors.sha256, AnchorsAltered), inputs.base.classes
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
        references=compared_with.odds,
    )
    return _Measured(evaluation, unlearned, has_references=left_out <= {None})


def _images(
    inputs: Inputs, artifacts: Artifacts, settings: WorkerSettings
) -> tuple[list[LabelledImage], dict[uuid.UUID, list[int]]]:
    return distinct_images({request.id: images_of(request, artifacts, settings) for request in inputs.requests})


def _stand_in(inputs: Inputs) -> list[LabelledImage]:
    """One image of an evaluation set in the place of those to forget: what depends on it is not looked at."""
    path = inputs.test or inputs.retain
    return [] if path is None else list(archive.read(path, [0]))


def _takes_no_images(place: str) -> bool:
    return any(place.removeprefix(f"measurements.{when}.").startswith(WITHOUT_IMAGES) for when in ("before", "after"))
