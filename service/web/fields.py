"""What callers send."""

import re
import uuid
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Form
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from starlette.datastructures import UploadFile

from service.registry.access.scopes import Scope
from service.registry.fields import NAME, Unique, VersionNumber
from service.registry.models.architectures import Architecture
from service.registry.models.preprocessing import Preprocessing
from service.registry.models.quality_gate import Policy
from service.registry.numbers import whole
from service.registry.options import Options
from service.registry.settings import DEFAULT_POOL, Pool
from service.registry.states import Disposition
from service.registry.training_data.manifest_files import MAX_IDENTIFIER
from service.registry.webhooks.endpoints import Event

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

#: Size of one text part of a multipart body: enough for a hundred thousand class names.
MAX_TEXT_PART = 8 * 1024**2  # bytes


def _without_nul(text: str) -> str:
    if "\0" in text:  # PostgreSQL has no such text
        raise ValueError("must not contain NUL characters")
    return text


def _moment(text: object) -> object:
    """RFC 3339: pydantic takes seconds since 1970, too, and guesses from their number that some are milliseconds."""
    if not (isinstance(text, str) and _RFC3339.fullmatch(text)):
        raise ValueError("must be a date and time as of RFC 3339")
    return text


def _label(value: object) -> int | str:
    try:
        return value if isinstance(value, str) else whole(value)
    except ValueError as error:
        raise ValueError("must be a class: its name, or its position") from error


def _named_by_pattern(schema: dict[str, Any]) -> None:
    """Keys that do not match would be allowed anything, and generated clients know no `patternProperties`."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema |= {"additionalProperties": values, "propertyNames": {**schema["propertyNames"], "pattern": pattern}}


def _attributes(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError:  # it would point to the key, which is the caller's own text
        raise ValueError("must name words of 1 to 200 characters for each class, without NUL characters") from None


def _text_of_part(part: object) -> object:
    """Some clients send the JSON as a file (`curl --form metadata=@request.json`)."""
    return part.file.read(MAX_TEXT_PART) if isinstance(part, UploadFile) else part


Text = Annotated[str, AfterValidator(_without_nul), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
RecordIdentifier = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
RecordIdentifiers = Annotated[Unique[RecordIdentifier], Field(min_length=1, max_length=100_000)]
ClassName = Annotated[Text, Field(min_length=1, max_length=200)]
Classes = Annotated[
    Unique[ClassName],
    Field(min_length=2, max_length=100_000, description="Names, in the order of the classifier's outputs."),
]
Labels = Annotated[
    list[Annotated[int | str, PlainValidator(_label, json_schema_input_type=int | str)]],
    Field(description="The class of each image, by name or position. A zip may say it with its folders instead."),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NewModel(_Body):
    """A classifier that will have versions."""

    name: str = Field(pattern=NAME)
    description: Text = Field(default="", max_length=2000)
    policy: Policy = Policy()
    approval_required: bool = Field(
        default=False, strict=True, description="Whether somebody else has to agree before a deletion request is run."
    )
    pool: Pool = Field(default=DEFAULT_POOL, description="Workers that run its jobs: one of the operator's pools.")


class ModelChange(_Body):
    """What is left out stays as it is."""

    pool: Pool | None = Field(default=None, description="Workers that run its jobs: one of the operator's pools.")


class NewVersion(_Body):
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


class Pointer(_Body):
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


class Tag(_Body):
    """The value of a tag."""

    value: Text = Field(max_length=1000, description="Name no person.")


class NewManifest(_Body):
    """What the uploaded manifest is called."""

    name: str = Field(pattern=NAME)


class NewEvaluationSet(_Body):
    """What the uploaded images measure."""

    name: str = Field(pattern=NAME)
    kind: Literal["test", "retain"] = Field(description="`test` gives A_test, `retain` gives A_r.")
    labels: Labels | None = None


class NewAnchorSet(_Body):
    """Whose anchors these are."""

    classes: Classes


class Refusal(_Body):
    """Why a deletion request is declined."""

    reason: Text = Field(min_length=1, max_length=500, description="Shown to whoever asked. Name no person.")


class Retries(_Body):
    """Which failed deletion requests to try again."""

    ids: list[uuid.UUID] = Field(min_length=1, max_length=100)


class NewApiKey(_Body):
    """What a key is for, and what it may do."""

    name: Text = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Moment | None = Field(default=None, description="Default: never.")


WebhookUrl = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=2000,
        description="`https://`, at a public address.",
        json_schema_extra={"pattern": "^https?://[!-~]+$"},
    ),
]
Events = Annotated[Unique[Event], Field(max_length=len(Event), description="What it hears of; empty means everything.")]
WebhookDescription = Annotated[Text, Field(max_length=2000, description="Name no person.")]


class NewWebhook(_Body):
    """Who wants to be called back, and about what."""

    url: WebhookUrl
    events: Events = []
    description: WebhookDescription = ""


class WebhookChange(_Body):
    """What is left out stays as it is."""

    url: WebhookUrl | None = None
    events: Events | None = None
    description: WebhookDescription | None = None
    enabled: Annotated[bool, Field(strict=True)] | None = None


class NewDisposition(_Body):
    """What is to become of a version."""

    disposition: Disposition


class Subject(_Body):
    """Somebody, by the identifier that training manifests have for them."""

    subject_id: RecordIdentifier


class NewDeletionRequest(_Body):
    """What is to be forgotten, and how: images come along, or are those of a subject, or of records by identifier."""

    model: str = Field(pattern=NAME)
    labels: Labels | None = None
    subject_id: RecordIdentifier | None = Field(
        default=None, description="Every record of this person in the manifests of the model's lineage."
    )
    sample_ids: RecordIdentifiers | None = Field(
        default=None, description="These records, from the manifests of the model's lineage."
    )
    regulation: str = Field(
        default="gdpr", pattern="^[a-z0-9_-]{1,40}$", description="Sets the deadline: `gdpr`, `ccpa`, or another name."
    )
    options: Options = Options()


Metadata = Annotated[Json[T], BeforeValidator(_text_of_part), Form(description="JSON.")]
"""The JSON part of a multipart body."""
