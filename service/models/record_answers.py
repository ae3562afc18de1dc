"""What the service answers about training manifests, and about the people in them: counts and pseudonyms."""

import uuid
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from service.registry import tables
from service.registry.states import Disposition
from service.registry.training_data.affected_versions import Reach, Reached


class ManifestAnswer(BaseModel):
    """What a version was trained on, without the rows."""

    name: str
    records: int = Field(description="Rows.")
    suppressed_records: int = Field(
        description="Rows whose record or subject somebody had asked to be forgotten when the manifest was registered."
    )
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, model: tables.Model, version: tables.Version, row: tables.Manifest) -> Self:
        """From its row."""
        here = f"/v1/models/{model.name}/versions/{version.number}"
        return cls(
            name=row.name,
            records=row.count,
            suppressed_records=row.suppressed,
            created_at=row.created_at,
            links={"self": f"{here}/manifests/{row.name}", "version": here},
        )


class ReachedVersion(BaseModel):
    """A version that has learned from the records, by a manifest of its own or of a version that it descends from."""

    model: str
    number: int
    aliases: list[str] = Field(description="Names that point to it now.")
    state: Reach = Field(
        description="`unlearned`: it, or a version that it descends from, has come out of a run that passed the gate "
        "and was asked to forget them. `pending`: requests under way for this model name them. `needs_unlearning`: "
        "neither; a version from before such a run stays so, and is the owner's, or the model's policy, to take out of "
        "use."
    )
    disposition: Disposition = Field(description="Whether it is in use: `kept`, `quarantined` or `deleted`.")
    links: dict[str, str]

    @classmethod
    def of(cls, reached: Reached) -> Self:
        """From its row, loaded with the model and the aliases."""
        version, name = reached.version, reached.version.model.name
        return cls(
            model=name,
            number=version.number,
            aliases=[alias.name for alias in version.aliases],
            state=reached.state,
            disposition=version.disposition,
            links={"version": f"/v1/models/{name}/versions/{version.number}"},
        )


class SuppressionAnswer(BaseModel):
    """A subject or a record that somebody has asked to be forgotten."""

    kind: str = Field(description="`subject` or `record`.")
    hmac: str = Field(description="How the HMAC that stands for it begins, in hex: the same means the same.")
    request: uuid.UUID
    at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.Suppression) -> Self:
        """From its row."""
        return cls(
            kind=row.kind,
            hmac=row.hmac.hex()[:12],
            request=row.request_id,
            at=row.at,
            links={"request": f"/v1/deletion-requests/{row.request_id}"},
        )
