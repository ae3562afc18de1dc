"""Bodies of requests and answers about models. Times are UTC, links are paths."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from service.registry import tables
from service.registry.fields import NAME, VersionNumber
from service.registry.measurements import Measurements
from service.registry.models.architectures import Architecture, Shapes
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.settings import DEFAULT_POOL, Pool
from service.registry.states import Disposition
from service.web.fields import Classes, ClassName, Labels, RequestBody, Text


def _named_by_pattern(schema: dict[str, Any]) -> None:
    """Keys that do not match would be allowed anything, and generated clients know no `patternProperties`."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema |= {"additionalProperties": values, "propertyNames": {**schema["propertyNames"], "pattern": pattern}}


def _attributes(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError:  # it would point to the key, which is the caller's own text
        raise ValueError("must name words of 1 to 200 characters for each class, without NUL characters") from None


class NewModel(RequestBody):
    """A classifier that will have versions."""

    name: str = Field(pattern=NAME)
    description: Text = Field(default="", max_length=2000)
    policy: Policy = Policy()
    approval_required: bool = Field(
        default=False, strict=True, description="Whether somebody else has to agree before a deletion request is run."
    )
    pool: Pool = Field(default=DEFAULT_POOL, description="Workers that run its jobs: one of the operator's pools.")


class ModelChange(RequestBody):
    """What is left out stays as it is."""

    pool: Pool | None = Field(default=None, description="Workers that run its jobs: one of the operator's pools.")


class NewVersion(RequestBody):
    """What the uploaded checkpoint is."""

    architecture: Architecture
    classes: Classes
    preprocessing: Preprocessing
    attributes: Annotated[
        dict[ClassName, list[Annotated[Text, Field(min_length=1, max_length=200)]]], WrapValidator(_attributes)
    ] = Field(
        default={},
        description="Visual attributes per class, for the anchors. May be left out.",
        json_schema_extra=_named_by_pattern,
    )
    # Not a `Repr-Digest` of the part: RFC 7578, section 4.8, has servers ignore such fields there.
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-fA-F]{64}$",
        description="SHA-256 of the checkpoint in hex. If what arrives has another one, it is refused.",
    )
    parent: VersionNumber | None = Field(default=None, description="Number of the version that it was made from.")


class Pointer(RequestBody):
    """Where an alias shall point."""

    version: VersionNumber = Field(description="Number of the version.")
    follows_gate: bool = Field(
        default=True,
        strict=True,
        description="Whether it moves on by itself when a run makes a new version of this one that passes the gate.",
    )
    override_gate: bool = Field(
        default=False, strict=True, description="Point to a version that did not pass the gate, after looking at it."
    )


class Tag(RequestBody):
    """The value of a tag."""

    value: Text = Field(max_length=1000, description="Name no person.")


class NewManifest(RequestBody):
    """What the uploaded manifest is called."""

    name: str = Field(pattern=NAME)


class NewEvaluationSet(RequestBody):
    """What the uploaded images measure."""

    name: str = Field(pattern=NAME)
    kind: Literal["test", "retain"] = Field(description="`test` gives A_test, `retain` gives A_r.")
    labels: Labels | None = None


class NewAnchorSet(RequestBody):
    """Whose anchors these are."""

    classes: Classes


class NewDisposition(RequestBody):
    """What is to become of a version."""

    disposition: Disposition


class ModelAnswer(BaseModel):
    """A classifier under one name."""

    name: str
    description: str
    policy: Policy
    approval_required: bool = Field(description="Whether somebody else has to agree before a deletion request is run.")
    pool: str = Field(description="Workers that run its jobs.")
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.Model) -> Self:
        """From its row."""
        here = f"/v1/models/{row.name}"
        return cls(
            name=row.name,
            description=row.description,
            policy=Policy.model_validate(row.policy),
            approval_required=row.approval_required,
            pool=row.pool,
            created_at=row.created_at,
            links={"self": here, "versions": f"{here}/versions", "evaluation_sets": f"{here}/evaluation-sets"},
        )


class VersionAnswer(BaseModel):
    """One checkpoint of a model, and where it came from."""

    model: str
    number: int
    parent: int | None = Field(description="Number of the version that it was made from.")
    children: list[int] = Field(description="Numbers of the versions that were made from it.")
    aliases: list[str] = Field(description="Names that point to it now.")
    tags: dict[str, str]
    suppressed_records: int = Field(
        description="Rows of its own training manifests that somebody had asked to be forgotten before: it was trained "
        "on them again."
    )
    architecture: Architecture
    classes: list[str]
    preprocessing: Preprocessing
    attributes: dict[str, list[str]]
    sha256: str
    size: int = Field(description="Bytes.")
    method: str = Field(description="`registered` if it was uploaded, `structguard` if a job made it.")
    config: dict[str, Any] = Field(description="Every hyper-parameter of the method.")
    code_version: str
    gate: str | None = Field(description="`passed`, `needs_review`, or nothing if it was uploaded.")
    metrics: Measurements
    disposition: Disposition = Field(
        description="`kept`; `quarantined`, and then nobody gets it, no alias points to it, and no run begins from it; "
        "or `deleted`: the same, and its checkpoint is destroyed."
    )
    disposed_at: datetime | None = Field(description="When it was last quarantined, deleted, or kept again.")
    deleted_at: datetime | None = Field(description="When its checkpoint was destroyed.")
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, model: tables.Model, row: tables.Version) -> Self:
        """From its row, loaded with its family, its aliases and its manifests."""
        versions = f"/v1/models/{model.name}/versions"
        links = {
            "self": f"{versions}/{row.number}",
            "checkpoint": f"{versions}/{row.number}/checkpoint",
            "manifests": f"{versions}/{row.number}/manifests",
            "parent": f"{versions}/{row.parent.number}" if row.parent else None,
            "job": f"/v1/jobs/{row.job_id}" if row.job_id else None,
        }
        return cls(
            model=model.name,
            number=row.number,
            parent=row.parent.number if row.parent else None,
            children=[child.number for child in row.children],
            aliases=[alias.name for alias in row.aliases],
            tags=row.tags,
            suppressed_records=sum(manifest.suppressed for manifest in row.manifests),
            architecture=Architecture.model_validate(row.architecture),
            classes=row.classes,
            preprocessing=Preprocessing.model_validate(row.preprocessing),
            attributes=row.attributes,
            sha256=row.sha256,
            size=row.size,
            method=row.method,
            config=row.config,
            code_version=row.code_version,
            gate=row.gate,
            metrics=cast("Measurements", row.metrics),
            disposition=row.disposition,
            disposed_at=row.disposed_at,
            deleted_at=row.deleted_at,
            created_at=row.created_at,
            links={name: link for name, link in links.items() if link},
        )


class AliasAnswer(BaseModel):
    """A name that points to a version."""

    name: str
    version: int
    follows_gate: bool = Field(description="Whether it moves on to what a run makes of its version, if that passes.")
    moved_at: datetime
    moved_by: str = Field(description="A key, a token's subject as a hash, or a job.")
    links: dict[str, str]

    @classmethod
    def of(cls, model: tables.Model, row: tables.Alias) -> Self:
        """From its row, loaded with the version."""
        here = f"/v1/models/{model.name}"
        return cls(
            name=row.name,
            version=row.version.number,
            follows_gate=row.follows_gate,
            moved_at=row.moved_at,
            moved_by=row.moved_by,
            links={"self": f"{here}/aliases/{row.name}", "version": f"{here}/versions/{row.version.number}"},
        )


class EvaluationSetAnswer(BaseModel):
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
        """From its row."""
        return cls(
            name=row.name,
            kind=row.kind,
            count=row.count,
            size=row.size,
            sha256=row.sha256,
            created_at=row.created_at,
            links={"self": f"/v1/models/{model.name}/evaluation-sets/{row.name}", "model": f"/v1/models/{model.name}"},
        )


class AnchorSetAnswer(BaseModel):
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
        """From its row."""
        return cls(
            id=row.id,
            encoder=row.encoder,
            encoder_digest=row.encoder_digest,
            classes=row.classes,
            descriptions=row.descriptions,
            dimension=row.dimension,
            sha256=row.sha256,
            created_at=row.created_at,
            links={"self": f"/v1/anchor-sets/{row.id}"},
        )


class ArchitectureAnswer(BaseModel):
    """A network that a checkpoint may be for, and the images that it takes."""

    name: str
    min_channels: int
    max_channels: int
    min_image_size: int = Field(description="Least height and width, in pixels.")
    image_size_multiple: int = Field(description="Height and width must be multiples of this many pixels.")
    square: bool = Field(description="Height and width must be the same.")

    @classmethod
    def of(cls, name: str, shapes: Shapes) -> Self:
        """From its line in the manifest."""
        return cls(
            name=name,
            min_channels=1 if shapes.any_channels else 3,
            max_channels=16 if shapes.any_channels else 3,
            min_image_size=shapes.least,
            image_size_multiple=shapes.multiple,
            square=shapes.square,
        )


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
