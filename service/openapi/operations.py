"""Helpers that look things up in an OpenAPI document."""

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]
"""An object of the document; the names follow the specification (https://spec.openapis.org/oas/v3.1.1)."""


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """All operations, as path, method and operation object."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def successes(operation: Node) -> Iterator[Node]:
    """The response objects of an operation for the statuses 2xx."""
    return (response for status, response in operation["responses"].items() if status.startswith("2"))


def resolved(document: Node, schema: Node) -> Node:
    """The schema that `$ref` leads to, or the schema itself."""
    reference: str = schema.get("$ref", "")
    target: Node = document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema
    return target


def json_body(document: Node, response: Node) -> Node:
    """The schema of a response's JSON, empty if it has none."""
    return resolved(document, response.get("content", {}).get("application/json", {}).get("schema", {}))


def without_null(schema: Node) -> Node:
    """A schema without `null`, which only JSON has: parameters and parts of forms are left out instead."""
    if "anyOf" not in schema:
        return schema
    [first, *rest] = [option for option in schema["anyOf"] if option.get("type") != "null"]
    siblings = {key: value for key, value in schema.items() if key != "anyOf"}
    return siblings | ({"anyOf": [first, *rest]} if rest else first)
