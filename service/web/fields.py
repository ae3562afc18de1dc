"""Field types and base models of bodies that several routes share."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, Self, TypeVar

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
)
from starlette.datastructures import UploadFile

from service.registry.fields import Unique, whole
from service.registry.storage.pagination import Page
from service.registry.training_data.manifest_files import MAX_IDENTIFIER

T = TypeVar("T")
Item = TypeVar("Item")
Row = TypeVar("Row")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


#: Size of one text part of a multipart body: enough for a hundred thousand class names.
MAX_TEXT_PART = 8 * 1024**2  # bytes


def _without_nul(text: str) -> str:
    if "\0" in text:  # PostgreSQL has no such text
        raise ValueError("must not contain NUL characters")
    return text


def _moment(text: object) -> object:
    """Only RFC 3339: pydantic would also take numbers, as seconds or milliseconds since 1970 by their size."""
    if not (isinstance(text, str) and _RFC3339.fullmatch(text)):
        raise ValueError("must be a date and time as of RFC 3339")
    return text


def _label(value: object) -> int | str:
    try:
        return value if isinstance(value, str) else whole(value)
    except ValueError as error:
        raise ValueError("must be a class: its name, or its position") from error


def _text_of_part(part: object) -> object:
    """Some clients send the JSON as a file (`curl --form metadata=@request.json`)."""
    return part.file.read(MAX_TEXT_PART) if isinstance(part, UploadFile) else part


Text = Annotated[str, AfterValidator(_without_nul), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
RecordIdentifier = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER)]
ClassName = Annotated[Text, Field(min_length=1, max_length=200)]


Classes = Annotated[
    Unique[ClassName],
    Field(min_length=2, max_length=100_000, description="Names, in the order of the classifier's outputs."),
]


Labels = Annotated[
    list[Annotated[int | str, PlainValidator(_label, json_schema_input_type=int | str)]],
    Field(description="The class of each image, by name or position. A zip may say it with its folders instead."),
]


class RequestBody(BaseModel):
    """Base of JSON bodies: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Answer(BaseModel):
    """Base of answers about a row: `model_validate(row)` reads each field from the attribute of the same name."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def from_row(cls, row: object, **values: Any) -> Self:
        """From `values`, and whatever they leave out from the attributes of `row`."""
        for name in cls.model_fields:
            if name not in values:
                values[name] = getattr(row, name)
        return cls.model_validate(values)


WebhookUrl = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=2000,
        description="`https://`, at a public address.",
        json_schema_extra={"pattern": "^https?://[!-~]+$"},
    ),
]


Metadata = Annotated[Json[T], BeforeValidator(_text_of_part), Form(description="JSON.")]
"""The JSON part of a multipart body."""


class Listing(BaseModel, Generic[Item]):
    """Some items, newest first."""

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page, if there is one.")

    @classmethod
    def of(cls, page: Page[Row], make: Callable[[Row], Item]) -> Self:
        """A page of rows, each made into an answer."""
        return cls(items=[make(row) for row in page.items], next=page.next)


class Everything(BaseModel, Generic[Item]):
    """All items there are."""

    items: list[Item]
