"""Every number of a certificate, computed again from what is stored: `python -m worker.recompute FILE TOLERANCE`.

It runs where the database, the artifact store and the packages of the worker are, and prints one line of JSON. Where
the images to forget are destroyed already, what was measured on them cannot be computed again, and is told apart.
"""

import json
import math
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from service.registry import envelope
from service.registry.artifacts import Artifacts
from service.registry.canonical import leaves
from service.registry.database import Database
from service.registry.errors import RegistryError
from service.registry.states import Disposition
from worker.anchors import AnchorsAltered
from worker.certified import Certified, read, told, told_now
from worker.encoders import load_precomputed
from worker.evaluation import Evaluation, device_of, evaluate, objections, probe_of
from worker.images import batches, forget_set
from worker.inputs import CheckpointAltered, Inputs, classifier, images_of, verified
from worker.report import numbers
from worker.settings import WorkerSettings
from worker.unlearning import Batch, SplitClassifier

#: What is measured without the images to forget. All else takes them.
WITHOUT_IMAGES = (
    "test_accuracy",
    "retain_accuracy",
    "collapse",
    "similarity",
    "retained_similarity",
    "retrieval.retained",
)

SAME, DIFFERS, NEEDS_IMAGES = "same", "differs", "needs the images"
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
    statement = envelope.read(certificate)
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
    measured = numbers({"before": asdict(again[0].before), "after": asdict(again[0].after)}) if again else {}
    if again:
        for when, own in again[0].of_each.get(found.request.id, {}).items():
            measured[when] |= own
    certified = dict(leaves(said["measurements"], "measurements"))
    for one in compared(certified, dict(leaves(measured, "measurements")), tolerance):
        is_known = again is not None and (has_images or _takes_no_images(one.place))
        yield one if is_known else Again(one.place, one.certified, None, NEEDS_IMAGES)
    objected = said["gate"]["objections"]
    if again and has_images:
        gate = {"gate.objections": objections(found.inputs, *again)}
        yield from compared({"gate.objections": objected}, gate, tolerance)
    else:
        yield Again("gate.objections", objected, None, NEEDS_IMAGES)


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


def _measured_again(
    found: Certified, artifacts: Artifacts, settings: WorkerSettings, *, has_images: bool
) -> tuple[Evaluation, SplitClassifier] | None:
    """What both versions are measured to be now, and the new one; nothing if there is nothing to measure them on."""
    device = device_of(settings.device)
    inputs = found.inputs
    brought = _images(inputs, artifacts, settings, device) if has_images else _stand_in(inputs, device)
    if brought is None:
        return None
    forget, own = brought
    base = classifier(inputs.base, inputs.checkpoint, device)
    file = verified(artifacts.path(found.version.checkpoint), found.version.sha256, CheckpointAltered)
    unlearned = classifier(inputs.base, file, device)
    vectors = load_precomputed(
        verified(artifacts.path(found.anchors.anchors), found.anchors.sha256, AnchorsAltered), inputs.base.classes
    )
    probe = probe_of(inputs, base, torch.from_numpy(vectors).to(device), device)
    return evaluate(
        inputs, settings, device, base=base, unlearned=unlearned, forget=forget, own=own, probe=probe
    ), unlearned


def _images(
    inputs: Inputs, artifacts: Artifacts, settings: WorkerSettings, device: torch.device
) -> tuple[Batch, dict[uuid.UUID, list[int]]]:
    images = {request.id: images_of(request, artifacts, settings) for request in inputs.requests}
    return forget_set(images, inputs.preprocessing, device)


def _stand_in(inputs: Inputs, device: torch.device) -> tuple[Batch, dict[uuid.UUID, list[int]]] | None:
    """One image of an evaluation set in the place of those to forget: what depends on it is not looked at."""
    path = inputs.test or inputs.retain
    return None if path is None else (next(batches(path, inputs.preprocessing, size=1, device=device)), {})


def _takes_no_images(place: str) -> bool:
    return any(place.removeprefix(f"measurements.{when}.").startswith(WITHOUT_IMAGES) for when in ("before", "after"))


if __name__ == "__main__":
    main()
