"""Examples of request and response bodies; examples.json has them by the name of the schema."""

import json
from pathlib import Path

from service.openapi.operations import Node

_FILE = Path(__file__).with_name("examples.json")


def complete(document: Node) -> None:
    """Add the example of each schema that has one; examples of lists have one item."""
    examples: dict[str, Node] = json.loads(_FILE.read_bytes())
    for name, schema in document["components"]["schemas"].items():
        listing, _, item = name.rstrip("_").partition("_")
        if name in examples:
            schema["examples"] = [examples[name]]
        elif listing == "Listing" and item in examples:
            schema["examples"] = [{"items": [examples[item]], "next": None}]
        elif listing == "Everything" and item in examples:
            schema["examples"] = [{"items": [examples[item]]}]
