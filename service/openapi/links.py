"""Links (OpenAPI 3.1, section 4.8.20): the operations on a resource that a POST has created."""

from service.openapi.operations import Node, json_body, operations, successes

_IDENTIFIERS = ("id", "name", "number")


def complete(document: Node) -> None:
    """Link each POST to a collection with all operations on the created resource, and describe its `Location`."""
    for collection, method, operation in list(operations(document)):
        if method == "post" and (parameter := _member_parameter(document, collection)):
            for response in successes(operation):
                properties = json_body(document, response).get("properties", {})
                if field := next((name for name in (parameter, *_IDENTIFIERS) if name in properties), None):
                    arguments = _path_arguments(collection) | {parameter: f"$response.body#/{field}"}
                    response["links"] = _links(document, f"{collection}/{{{parameter}}}", arguments)
                    response.setdefault("headers", {})["Location"] = {
                        "description": "Path of what was created.",
                        "required": True,
                        "schema": {"type": "string"},
                    }


def _member_parameter(document: Node, collection: str) -> str | None:
    """The parameter that names a member of the collection, if one can be read."""
    members = (path for path in document["paths"] if path.rpartition("/")[0] == collection and path.endswith("}"))
    return next((path.rpartition("{")[2][:-1] for path in members if "get" in document["paths"][path]), None)


def _path_arguments(path: str) -> dict[str, str]:
    return {name: f"$request.path.{name}" for name in _parameters(path)}


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _links(document: Node, member: str, arguments: dict[str, str]) -> Node:
    return {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "description": operation["summary"],
            "parameters": arguments,
        }
        for path, _, operation in operations(document)
        if (path == member or path.startswith(f"{member}/")) and set(_parameters(path)) == arguments.keys()
    }
