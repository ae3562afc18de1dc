"""Options and arguments that several commands share, and how their text is read."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.exits import CommandError

if TYPE_CHECKING:
    from service.registry.crypto.signing_keys import PublicKey


def server_url(text: str) -> str:
    """Check the URL of a server.

    Raises:
        typer.BadParameter: it is no http or https URL.
    """
    if not re.match(r"https?://[^/]", text):
        raise typer.BadParameter("a server is named by its URL, such as http://127.0.0.1:8000")
    return text


Server = Annotated[
    str, typer.Option(envvar="STRUCTGUARD_SERVER", parser=server_url, metavar="URL", help="Where the service listens.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and words for people on stderr.")
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", file_okay=False, help="The data folder. [default: STRUCTGUARD_DATA_DIR]")
]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Identifier of a deletion request.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a registered model.")]
ChosenWeights = Annotated[
    str | None,
    typer.Option("--weights", metavar="NAME", help="If a pickled checkpoint holds several sets, such as model_ema."),
]

DEFAULT_SERVER = "http://127.0.0.1:8000"


def existing_file(purpose: str) -> Any:
    """An option that names an existing file; `purpose` is its help text."""
    return typer.Option(exists=True, dir_okay=False, readable=True, help=purpose)


def public_keys(files: list[Path]) -> "dict[str, PublicKey]":
    """The public keys of these PEM files, by their identifiers.

    Raises:
        CommandError: a file holds no usable key.
    """
    from service.registry.crypto.signing_keys import PublicKey, PublicKeyUnusable  # noqa: PLC0415

    try:
        keys = [PublicKey.read(file.read_bytes()) for file in files]
    except PublicKeyUnusable as error:
        raise CommandError("A key cannot be used.", error.detail) from error
    return {key.key_id: key for key in keys}


def names(text: str) -> list[str]:
    """`cat,dog`, or one name a line in the file of `@classes.txt`."""
    parts = _lines(text[1:]) if text.startswith("@") else text.split(",")
    return [part.strip() for part in parts if part.strip()]


def versions(text: str) -> list[dict[str, Any]]:
    """`pets/2,birds/1`: versions 2 of pets and 1 of birds."""
    matches = [re.fullmatch(r"([^/]+)/(\d+)", name) for name in names(text)]
    if not all(matches):
        raise typer.BadParameter("versions are named model/number with commas between them, such as pets/2,birds/1")
    return [{"model": match[1], "version": int(match[2])} for match in matches if match]


def private(text: str) -> str:
    """`p-4711`, or the text in the file of `@subject.txt`: a command line is shown to whoever lists processes."""
    return _text(Path(text[1:])).strip() if text.startswith("@") else text


def numbers(text: str) -> list[float]:
    """Comma-separated numbers, such as `0.5,0.5,0.5`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter("must be numbers with commas between them, such as 0.49,0.48,0.45") from None


def size(text: str) -> list[int]:
    """`224x192`, height first, or `224` for a square."""
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text)
    if match is None:
        raise typer.BadParameter("must be height and width in pixels, such as 224x224")
    height, width = match[1], match[2] or match[1]
    return [int(height), int(width)]


def labels(text: str) -> list[int | str]:
    """`cat,dog` or `3,7`, or a JSON list in the file of `@labels.json`. What a text means the service decides."""
    if text.startswith("@"):
        values = json_file(Path(text[1:]))
        if not isinstance(values, list):
            raise typer.BadParameter("the file must hold a JSON list of labels")
        return values
    return [part.strip() for part in text.split(",")]


def json_file(path: Path) -> Any:
    """The value that a JSON file holds."""
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}") from None


def _lines(path: str) -> list[str]:
    return _text(Path(path)).splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}") from None
