"""Query, path and header parameters: they may be left out, but are never `null`."""

from service.openapi.operations import Node, operations, without_null


def complete(document: Node) -> None:
    """Remove `null` from the schemas of all parameters."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = without_null(parameter["schema"])
