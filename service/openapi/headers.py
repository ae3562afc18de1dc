"""Headers that come with a status, whatever the operation is."""

from service.openapi.operations import Node, operations

_LATER = {
    "Retry-After": {
        "description": "Seconds until it is worth trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}

_HEADERS: dict[str, Node] = {
    "401": {
        "WWW-Authenticate": {
            "description": "The challenge (RFC 6750).",
            "required": True,
            "schema": {"type": "string", "pattern": "^Bearer"},
        }
    },
    "403": {
        "WWW-Authenticate": {
            "description": "The scope that is missing, if that is the reason (RFC 6750).",
            "schema": {"type": "string", "pattern": "^Bearer"},
        }
    },
    "429": _LATER,
    "503": _LATER,
}


def complete(document: Node) -> None:
    """Describe them."""
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if status in _HEADERS:
                response["headers"] = _HEADERS[status] | response.get("headers", {})
