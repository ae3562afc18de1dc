"""Bodies of requests and answers about models, their versions and aliases. Times are UTC, links are paths."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from service.registry import tables
from service.registry.fields import NAME, VersionNumber
from service.registry.measurements.schemas import Measurements
from service.registry.models.architectures import Architecture, Shapes
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.settings import DEFAULT_POOL, Pool
from service.registry.states import Disposition
from service.web.fields import Answer, Classes, ClassName, RequestBody, Text


def _named_by_pattern(schema: dict[str, Any]) -> None:
    """Rewrite `patternProperties`: it allows any value under other keys, and generators of clients lack it."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema |= {"additionalProperties": values, "propertyNames": {**schema["propertyNames"], "pattern": pattern}}


def _check_attributes(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError:  # its location has the key, which is the caller's own text
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
    """Changes to a model; a field that is left out stays as it is."""

    pool: Pool | None = Field(default=None, description="Workers that run its jobs: one of the operator's pools.")


class NewVersion(RequestBody):
    """What the uploaded checkpoint is."""

    architecture: Architecture
    classes: Classes
    preprocessing: Preprocessing
    attributes: Annotated[
        dict[ClassName, list[Annotated[Text, Field(min_length=1, max_length=200)]]], WrapValidator(_check_attributes)
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


class NewDisposition(RequestBody):
    """What is to become of a version."""

    disposition: Disposition


class ModelAnswer(Answer):
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
        """Build the answer from a row."""
        path = f"/v1/models/{row.name}"
        links = {"self": path, "versions": f"{path}/versions", "evaluation_sets": f"{path}/evaluation-sets"}
        return cls.from_row(row, links=links)


class VersionAnswer(Answer):
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
        """Build the answer from a row that was loaded with its parent, children, aliases and manifests."""
        versions = f"/v1/models/{model.name}/versions"
        links = {
            "self": f"{versions}/{row.number}",
            "checkpoint": f"{versions}/{row.number}/checkpoint",
            "manifests": f"{versions}/{row.number}/manifests",
            "parent": f"{versions}/{row.parent.number}" if row.parent else None,
            "job": f"/v1/jobs/{row.job_id}" if row.job_id else None,
        }
        return cls.from_row(
            row,
            model=model.name,
            parent=row.parent.number if row.parent else None,
            children=[child.number for child in row.children],
            aliases=[alias.name for alias in row.aliases],
            suppressed_records=sum(manifest.suppressed for manifest in row.manifests),
            links={name: link for name, link in links.items() if link},
        )


class AliasAnswer(Answer):
    """A name that points to a version."""

    name: str
    version: int
    follows_gate: bool = Field(description="Whether it moves on to what a run makes of its version, if that passes.")
    moved_at: datetime
    moved_by: str = Field(description="A key, a token's subject as a hash, or a job.")
    links: dict[str, str]

    @classmethod
    def of(cls, model: tables.Model, row: tables.Alias) -> Self:
        """Build the answer from a row that was loaded with its version."""
        path = f"/v1/models/{model.name}"
        links = {"self": f"{path}/aliases/{row.name}", "version": f"{path}/versions/{row.version.number}"}
        return cls.from_row(row, version=row.version.number, links=links)


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
        """Build the answer from the limits on images that the allow-list has for the network."""
        return cls(
            name=name,
            min_channels=1 if shapes.any_channels else 3,
            max_channels=16 if shapes.any_channels else 3,
            min_image_size=shapes.least,
            image_size_multiple=shapes.multiple,
            square=shapes.square,
        )


class Side(Answer):
    """One of the two versions."""

    number: int
    sha256: str
    size: int = Field(description="Bytes.")
    method: str
    gate: str | None


class MetricChange(BaseModel):
    """One measurement of both."""

    name: str = Field(
        description="As in `metrics` of a version or a job. `forget_accuracy` and `robust_forget_accuracy` are of the "
        "images of the run that made the version; of the version that this run began from, beside it, they are what "
        "it measured of the same images before. Of two other versions they are of different images."
    )
    first: float | None
    second: float | None
    change: float | None = Field(
        description="Second minus first, where both were measured, and on the same images to forget if it is of those."
    )


class TensorChange(BaseModel):
    """One tensor that differs."""

    name: str
    shape: list[int]
    relative_change: float | None = Field(
        description="‖second − first‖ / ‖first‖ (L2), where the type is one that can be computed with."
    )


class ParameterChange(BaseModel):
    """How the checkpoints differ."""

    tensors: int = Field(description="Of both versions, each name once.")
    tensors_changed: int
    parameters: int = Field(description="Of the first version.")
    parameters_changed: int | None = Field(
        description="Those that differ in the second, or are not there; nothing if a type could not be read."
    )
    farthest: list[TensorChange] = Field(description="The tensors that moved farthest, at most fifty.")


class ComparisonAnswer(BaseModel):
    """What differs from the first version to the second."""

    model: str
    first: Side
    second: Side
    relation: Literal["same", "parent", "child", "other"] = Field(
        description="What the first version is to the second."
    )
    metrics: list[MetricChange]
    parameters: ParameterChange
