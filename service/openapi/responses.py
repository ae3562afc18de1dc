"""Descriptions of success responses, which FastAPI calls 'Successful Response'."""

from service.openapi.operations import Node, json_body, operations, successes


def complete(document: Node) -> None:
    """Describe each success by its body."""
    for _, _, operation in operations(document):
        for response in successes(operation):
            if response["description"] == "Successful Response":
                body = json_body(document, response)
                response["description"] = body.get("description") or ("The items." if body else "Done.")
            for media in response.get("content", {}).values():
                if "itemSchema" in media:  # a word of OpenAPI 3.2, in a document of OpenAPI 3.1
                    media["schema"] = media.pop("itemSchema") | {"description": "One event of the stream."}
