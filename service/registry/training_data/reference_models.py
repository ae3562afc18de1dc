"""Reference models of membership inference: versions of other models that never learned the images to forget."""

import uuid
from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, contains_eager

from service.registry.errors import Fault, InvalidInput
from service.registry.options import Reference
from service.registry.states import Disposition
from service.registry.tables import Model, Version
from service.registry.training_data import manifests


class LeftOut(StrEnum):
    """Why a run left out one of the references of its options."""

    DELETED = "deleted"  #: the version was deleted after the request was accepted
    QUARANTINED = "quarantined"  #: the version was quarantined after the request was accepted
    MISSING = "missing"  #: its checkpoint is not in the artifact store
    ALTERED = "altered"  #: its checkpoint is not the one that was registered
    NO_TEST_SET = "no_test_set"  #: nothing to compare the images with: membership inference was not tried


def find(session: Session, tenant_id: uuid.UUID, references: Sequence[Reference]) -> list[Version | None]:
    """The tenant's versions of these references, in that order, with their models; None where there is none."""
    if not references:
        return []
    rows = (
        select(Version)
        .join(Version.model)
        .where(
            Model.tenant_id == tenant_id,
            tuple_(Model.name, Version.number).in_([(reference.model, reference.version) for reference in references]),
        )
        .options(contains_eager(Version.model))
    )
    versions = {(version.model.name, version.number): version for version in session.scalars(rows)}
    return [versions.get((reference.model, reference.version)) for reference in references]


def check(
    session: Session,
    model: Model,
    version: Version,
    references: Sequence[Reference],
    *,
    subjects: Sequence[bytes],
    records: Sequence[bytes],
) -> None:
    """Check that versions can be references for a run that begins from `version`, and is to forget these records.

    It cannot be checked for uploaded images, which are in no manifest: there the caller is trusted.

    Raises:
        InvalidInput: with a fault for each version that cannot be a reference.
    """
    faults = []
    for at, reference in enumerate(find(session, model.tenant_id, references)):
        error = "there is no such version"
        if reference is not None:
            error = _unsuitable(reference, model, version) or _learned(session, reference, subjects, records)
        if error:
            faults.append(Fault(f"#/options/references/{at}", error))
    if faults:
        raise InvalidInput(*faults)


def _unsuitable(reference: Version, model: Model, version: Version) -> str:
    channels = [each.architecture["in_channels"] for each in (reference, version)]
    rules = {
        "is a version of the very model, and may have learned the images": reference.model_id == model.id,
        "came out of a run; a reference is as it was trained": reference.job_id is not None,
        f"is {reference.disposition}": reference.disposition is not Disposition.KEPT,
        "must have the classes of the model, in the same order": reference.classes != version.classes,
        "must take images of as many channels as the model": channels[0] != channels[1],
    }
    return next((error for error, violated in rules.items() if violated), "")


def _learned(session: Session, reference: Version, subjects: Sequence[bytes], records: Sequence[bytes]) -> str:
    held = manifests.records(session, reference, records) or manifests.records_of_subjects(session, reference, subjects)
    return "has a training manifest that holds what is to be forgotten" if held else ""
