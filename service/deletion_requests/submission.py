"""The body of a deletion request, in either of its forms: multipart with images, or plain JSON that names records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.web.fields import Metadata, NewDeletionRequest

JSON_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{NewDeletionRequest.__name__}"}}}
    }
}
"""What the framework does not see by itself: it only finds the form."""


@dataclass(frozen=True)
class Asked:
    """What is to be forgotten, and the images that came along."""

    given: NewDeletionRequest
    images: Sequence[UploadFile]


async def _asked(
    request: Request,
    metadata: Metadata[NewDeletionRequest] | None = None,
    images: list[UploadFile] | None = None,
) -> Asked:
    """Declared as a form, the framework reads one if one was sent, and leaves any other body alone."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return Asked(_parsed(await request.body()), ())
    if metadata is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "metadata"), "msg": "Field required"}])
    return Asked(metadata, images or ())


AskedDep = Annotated[Asked, Depends(_asked)]
"""Either form of the body of `POST /v1/deletion-requests`."""


def _parsed(body: bytes) -> NewDeletionRequest:
    try:
        return NewDeletionRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from error
