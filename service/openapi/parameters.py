"""Parameters are there or not, but never `null`."""

from service.openapi.operations import Node, operations, present


def complete(document: Node) -> None:
    """Take `null` out of their schemas."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = present(parameter["schema"])
