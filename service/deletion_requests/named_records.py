"""The records of training manifests that a deletion request without images names, and the images of those records."""

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
class NamedRecords:
    """Pseudonyms of the subjects and records that a request names, and their images; empty if images were uploaded."""

    subjects: Sequence[bytes] = ()
    records: Sequence[bytes] = ()
    images: Sequence[ReceivedImage] = ()


def look_up(
    session: Session, resources: Resources, pseudonyms: Pseudonyms, version: Version, content: NewDeletionRequest
) -> NamedRecords:
    """Find the named records in the manifests of `version` and its ancestors. An image is fetched when it is read.

    Raises:
        InvalidInput: a subject has no record, a record is missing, or there are more than `max_images`.
    """
    if content.subject_id is not None:
        subject = pseudonyms.subject(content.subject_id)
        named = of_subjects(session, resources, version, {subject: "#/subject_id"})
        if not named.records:
            raise InvalidInput(Fault("#/subject_id", "no manifest of the model's lineage has a record of this subject"))
        return named
    pointers = {
        pseudonyms.record(sample_id): f"#/sample_ids/{at}" for at, sample_id in enumerate(content.sample_ids or ())
    }
    _check_count(resources, len(pointers), "#/sample_ids")
    records = manifests.records(session, version, list(pointers))
    _check_none_missing(pointers, records)
    return NamedRecords((), list(pointers), _images(resources, records, pointers))


def of_subjects(
    session: Session, resources: Resources, version: Version, subjects: Mapping[bytes, str]
) -> NamedRecords:
    """Like `look_up`, for subjects by pseudonym, each with the JSON Pointer to its field. There may be no records.

    Raises:
        InvalidInput: there are more records than `max_images`.
    """
    records = manifests.records_of_subjects(session, version, list(subjects))
    pointers = {record.sample_hmac: subjects[record.subject_hmac] for record in records if record.subject_hmac}
    _check_count(resources, len(pointers), next(iter(subjects.values())))
    return NamedRecords(list(subjects), list(pointers), _images(resources, records, pointers))


def _check_count(resources: Resources, count: int, pointer: str) -> None:
    limit = resources.settings.max_images
    if count > limit:
        raise InvalidInput(Fault(pointer, f"means {count} records; at most {limit} are allowed"))


def _check_none_missing(pointers: dict[bytes, str], records: Sequence[Record]) -> None:
    existing = {record.sample_hmac for record in records}
    missing = [pointer for sample, pointer in pointers.items() if sample not in existing]
    if missing:
        detail = "no manifest of the model's lineage has this record"
        raise InvalidInput(*(Fault(pointer, detail) for pointer in missing[:MOST_FAULTS]))


def _images(resources: Resources, records: Sequence[Record], pointers: dict[bytes, str]) -> list[ReceivedImage]:
    """The images of the records, once for each URI: if several manifests have it, the newest one gives the label."""
    rows = defaultdict[Manifest, set[int]](set)
    for record in records:
        rows[record.manifest].add(record.row)
    uris = {
        manifest: manifest_files.read_uris(
            manifests.open_uris(manifest, resources.artifacts, resources.master_key), indices
        )
        for manifest, indices in rows.items()
    }
    images: dict[tuple[bytes, str], ReceivedImage] = {}
    for record in records:
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
