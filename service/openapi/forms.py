"""Forms: one part is a JSON object, the others are files, and there are no further ones."""

from service.openapi.operations import Node, operations, present, resolved

_MULTIPART = "multipart/form-data"

#: What the files of a part may be, by the part's name.
_MEDIA_TYPES = {
    "images": "image/png, image/jpeg, image/webp, application/zip, application/octet-stream",
    "manifest": "text/csv, application/vnd.apache.parquet",
}


def complete(document: Node) -> None:
    """Describe the parts as OpenAPI 3.1 would have them: JSON by its own schema, files as binary."""
    for _, _, operation in operations(document):
        body = operation.get("requestBody", {})
        if form := body.get("content", {}).get(_MULTIPART):
            body["required"] = True
            schema = resolved(document, form["schema"])
            schema["additionalProperties"] = False
            schema["required"] = [name for name, part in schema["properties"].items() if _is_needed(schema, name, part)]
            schema["properties"] = {name: _described(part) for name, part in schema["properties"].items()}
            form["encoding"] = {
                name: {"contentType": _MEDIA_TYPES.get(name, "application/octet-stream")}
                for name, part in schema["properties"].items()
                if _is_file(part)
            }


def _is_needed(schema: Node, name: str, part: Node) -> bool:
    """What is optional to the framework may only be so because the same operation takes a plain JSON body, too."""
    return name in schema.get("required", []) or "contentSchema" in present(part)


def _described(part: Node) -> Node:
    described = present(part)
    if "contentSchema" in described:
        json: Node = described["contentSchema"]
        return json
    if _is_file(described):
        described.get("items", described)["format"] = "binary"  # how generators of clients tell a file from a text
    return described


def _is_file(part: Node) -> bool:
    media_type: object = part.get("items", part).get("contentMediaType")
    return media_type == "application/octet-stream"
