"""Multipart forms: one part is a JSON object, the others are files, and no further parts are allowed."""

from service.openapi.operations import Node, operations, resolved, without_null

_MULTIPART = "multipart/form-data"

#: What the files of a part may be, by the part's name.
_MEDIA_TYPES = {
    "images": "image/png, image/jpeg, image/webp, application/zip, application/octet-stream",
    "manifest": "text/csv, application/vnd.apache.parquet",
}


def complete(document: Node) -> None:
    """Describe the parts of forms as OpenAPI 3.1 does: JSON by its own schema, files as binary."""
    for _, _, operation in operations(document):
        body = operation.get("requestBody", {})
        if form := body.get("content", {}).get(_MULTIPART):
            body["required"] = True
            schema = resolved(document, form["schema"])
            schema["additionalProperties"] = False
            schema["required"] = [
                name for name, part in schema["properties"].items() if _is_required(schema, name, part)
            ]
            schema["properties"] = {name: _part_schema(part) for name, part in schema["properties"].items()}
            form["encoding"] = {
                name: {"contentType": _MEDIA_TYPES.get(name, "application/octet-stream")}
                for name, part in schema["properties"].items()
                if _is_file(part)
            }


def _is_required(schema: Node, name: str, part: Node) -> bool:
    """FastAPI declares the JSON part optional where the operation takes a plain JSON body, too; in a form it is not."""
    return name in schema.get("required", []) or "contentSchema" in without_null(part)


def _part_schema(part: Node) -> Node:
    schema = without_null(part)
    if "contentSchema" in schema:
        json: Node = schema["contentSchema"]
        return json
    if _is_file(schema):
        schema.get("items", schema)["format"] = "binary"  # by which generators of clients tell a file from a string
    return schema


def _is_file(part: Node) -> bool:
    media_type: object = part.get("items", part).get("contentMediaType")
    return media_type == "application/octet-stream"
