"""What a deletion request means that brings no images: records of training manifests, and the images they stand for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from service.deletion_requests.image_fetching import fetch
from service.deletion_requests.schemas import NewDeletionRequest
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import MOST_FAULTS, Fault, InvalidInput
from service.registry.images.validation import ReceivedImage
from service.registry.tables import Manifest, Record, Version
from service.registry.training_data import manifest_files, manifests
from service.web.dependencies import Resources


@dataclass(frozen=True)
class Named:
    """Whom and what a request names, as pseudonyms, and the images that are meant; nothing if it brings its own."""

    subjects: Sequence[bytes] = ()
    records: Sequence[bytes] = ()
    images: Sequence[ReceivedImage] = ()


def look_up(
    session: Session, resources: Resources, pseudonyms: Pseudonyms, version: Version, given: NewDeletionRequest
) -> Named:
    """Find the records in the manifests of `version` and its ancestors. Their images are fetched as they are read.

    Raises:
        InvalidInput: there are none, or too many.
    """
    if given.subject_id is not None:
        subject = pseudonyms.subject(given.subject_id)
        named = of_subjects(session, resources, version, {subject: "#/subject_id"})
        if not named.records:
            raise InvalidInput(Fault("#/subject_id", "no manifest of the model's lineage has a record of this subject"))
        return named
    pointers = {
        pseudonyms.record(sample_id): f"#/sample_ids/{at}" for at, sample_id in enumerate(given.sample_ids or ())
    }
    _check_count(resources, len(pointers), "#/sample_ids")
    found = manifests.records(session, version, list(pointers))
    _check_all_found(pointers, found)
    return Named((), list(pointers), _images(resources, found, pointers))


def of_subjects(session: Session, resources: Resources, version: Version, subjects: Mapping[bytes, str]) -> Named:
    """Like `look_up`, of these people; each with the pointer to where they are named. It may find no record.

    Raises:
        InvalidInput: there are too many.
    """
    found = manifests.records_of_subjects(session, version, list(subjects))
    pointers = {record.sample_hmac: subjects[record.subject_hmac] for record in found if record.subject_hmac}
    _check_count(resources, len(pointers), next(iter(subjects.values())))
    return Named(list(subjects), list(pointers), _images(resources, found, pointers))


def _check_count(resources: Resources, count: int, pointer: str) -> None:
    most = resources.settings.max_images
    if count > most:
        raise InvalidInput(Fault(pointer, f"means {count} records; at most {most} are allowed"))


def _check_all_found(pointers: dict[bytes, str], found: Sequence[Record]) -> None:
    there = {record.sample_hmac for record in found}
    missing = [pointer for sample, pointer in pointers.items() if sample not in there]
    if missing:
        detail = "no manifest of the model's lineage has this record"
        raise InvalidInput(*(Fault(pointer, detail) for pointer in missing[:MOST_FAULTS]))


def _images(resources: Resources, found: Sequence[Record], pointers: dict[bytes, str]) -> list[ReceivedImage]:
    """The image of each record; of a record with one image in several manifests the newest one knows the label."""
    rows = defaultdict[Manifest, set[int]](set)
    for record in found:
        rows[record.manifest].add(record.row)
    uris = {
        manifest: manifest_files.read_uris(
            manifests.open_uris(manifest, resources.artifacts, resources.master_key), wanted
        )
        for manifest, wanted in rows.items()
    }
    images: dict[tuple[bytes, str], ReceivedImage] = {}
    for record in found:
        manifest, pointer = record.manifest, pointers[record.sample_hmac]
        uri = uris[manifest][record.row]
        image = ReceivedImage(
            read=partial(fetch, uri, resources.settings),
            pointer=pointer,
            label=record.label,
            label_pointer=pointer,
            context=f"row {record.row} of the manifest `{manifest.name}` of version {manifest.version.number}: ",
        )
        images.setdefault((record.sample_hmac, uri), image)
    return list(images.values())
