"""Response headers that depend on the status only, not on the operation."""

from service.openapi.operations import Node, operations

_RETRY_AFTER = {
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
    "429": _RETRY_AFTER,
    "503": _RETRY_AFTER,
}


def complete(document: Node) -> None:
    """Add these headers to the responses of every operation."""
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if status in _HEADERS:
                response["headers"] = _HEADERS[status] | response.get("headers", {})
