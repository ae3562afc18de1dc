"""Problem documents: media type and examples. FastAPI's own 422, which is never sent, is removed."""

from service.openapi.operations import Node
from service.web.problem_types import TABLE, ProblemType
from service.web.problems import MEDIA_TYPE, Problem

_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")


def complete(document: Node) -> None:
    """Describe error responses as `application/problem+json`, with an example where a status has one type only."""
    for section in ("paths", "webhooks"):
        for methods in document.get(section, {}).values():
            for operation in methods.values():
                for status, response in list(operation["responses"].items()):
                    _complete_response(operation["responses"], status, response)
    for name in _UNUSED_SCHEMAS:
        document["components"]["schemas"].pop(name, None)


def _complete_response(responses: Node, status: str, response: Node) -> None:
    for body in list(response.get("content", {}).values()):
        reference = body.get("schema", {}).get("$ref", "")
        if reference.endswith("/HTTPValidationError"):
            del responses[status]
        elif reference.endswith(f"/{Problem.__name__}"):
            response["content"] = {MEDIA_TYPE: body}
            kinds = {kind for kind in TABLE.values() if str(kind.status) == status}
            if len(kinds) == 1:  # which of several types occur depends on the operation
                body["example"] = _example(kinds.pop())


def _example(kind: ProblemType) -> Node:
    instance = "urn:uuid:0b9f5d0e-5c0e-4b57-9a53-0d8f0f6f3a5e"
    return Problem(
        type=f"/problems/{kind.slug}", title=kind.title, status=kind.status, detail=kind.advice, instance=instance
    ).model_dump()
