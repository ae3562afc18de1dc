"""Bodies of requests and answers about the data of versions: training manifests, evaluation sets, anchor sets."""

import uuid
from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from service.registry import tables
from service.registry.fields import NAME
from service.web.fields import Answer, Classes, Labels, RequestBody


class NewManifest(RequestBody):
    """What the uploaded manifest is called."""

    name: str = Field(pattern=NAME)


class ManifestAnswer(Answer):
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
        """Build the answer from a row."""
        path = f"/v1/models/{model.name}/versions/{version.number}"
        links = {"self": f"{path}/manifests/{row.name}", "version": path}
        return cls.from_row(row, records=row.count, suppressed_records=row.suppressed, links=links)


class NewEvaluationSet(RequestBody):
    """What the uploaded images measure."""

    name: str = Field(pattern=NAME)
    kind: Literal["test", "retain"] = Field(description="`test` gives A_test, `retain` gives A_r.")
    labels: Labels | None = None


class EvaluationSetAnswer(Answer):
    """Labelled images that versions are measured on."""

    name: str
    kind: str
    count: int = Field(description="Images.")
    size: int = Field(description="Bytes.")
    sha256: str
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, model: tables.Model, row: tables.EvaluationSet) -> Self:
        """Build the answer from a row."""
        path = f"/v1/models/{model.name}"
        return cls.from_row(row, links={"self": f"{path}/evaluation-sets/{row.name}", "model": path})


class NewAnchorSet(RequestBody):
    """Whose anchors these are."""

    classes: Classes


class AnchorSetAnswer(Answer):
    """Semantic anchors, without the vectors."""

    id: uuid.UUID
    encoder: str
    encoder_digest: str
    classes: list[str]
    descriptions: list[str] = Field(description="What the encoder read, per class; empty if the vectors were uploaded.")
    dimension: int
    sha256: str
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.AnchorSet) -> Self:
        """Build the answer from a row."""
        return cls.from_row(row, links={"self": f"/v1/anchor-sets/{row.id}"})
