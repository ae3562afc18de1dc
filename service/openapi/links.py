"""Links (OpenAPI 3.1, section 4.8.20): what can be done next with what a POST has created."""

from service.openapi.operations import Node, json_body, operations, successes

_IDENTIFIERS = ("id", "name", "number")


def complete(document: Node) -> None:
    """Link each POST to a collection with all operations on what it has created, and say that it is in `Location`."""
    for collection, method, operation in list(operations(document)):
        if method == "post" and (parameter := _member(document, collection)):
            for response in successes(operation):
                properties = json_body(document, response).get("properties", {})
                if field := next((name for name in (parameter, *_IDENTIFIERS) if name in properties), None):
                    given = _given(collection) | {parameter: f"$response.body#/{field}"}
                    response["links"] = _links(document, f"{collection}/{{{parameter}}}", given)
                    response.setdefault("headers", {})["Location"] = {
                        "description": "Path of what was created.",
                        "required": True,
                        "schema": {"type": "string"},
                    }


def _member(document: Node, collection: str) -> str | None:
    """The parameter that names a member of the collection, if one can be read."""
    members = (path for path in document["paths"] if path.rpartition("/")[0] == collection and path.endswith("}"))
    return next((path.rpartition("{")[2][:-1] for path in members if "get" in document["paths"][path]), None)


def _given(path: str) -> dict[str, str]:
    return {name: f"$request.path.{name}" for name in _parameters(path)}


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _links(document: Node, member: str, given: dict[str, str]) -> Node:
    return {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "description": operation["summary"],
            "parameters": given,
        }
        for path, _, operation in operations(document)
        if (path == member or path.startswith(f"{member}/")) and set(_parameters(path)) == given.keys()
    }
