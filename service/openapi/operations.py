"""Finding one's way in an OpenAPI document."""

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]
"""An object of the document; the names follow the specification (https://spec.openapis.org/oas/v3.1.1)."""


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Path, method and operation object of each."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def successes(operation: Node) -> Iterator[Node]:
    """Its response objects for 2xx."""
    return (response for status, response in operation["responses"].items() if status.startswith("2"))


def resolved(document: Node, schema: Node) -> Node:
    """The schema that `$ref` leads to, or the schema itself."""
    reference: str = schema.get("$ref", "")
    found: Node = document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema
    return found


def json_body(document: Node, response: Node) -> Node:
    """The schema of a response's JSON, empty if it has none."""
    return resolved(document, response.get("content", {}).get("application/json", {}).get("schema", {}))


def present(schema: Node) -> Node:
    """Without `null`, which only JSON knows: parameters and parts of a form are there or not."""
    if "anyOf" not in schema:
        return schema
    [some, *others] = [one for one in schema["anyOf"] if one.get("type") != "null"]
    about = {key: value for key, value in schema.items() if key != "anyOf"}
    return about | ({"anyOf": [some, *others]} if others else some)
