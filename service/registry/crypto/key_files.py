"""Files that hold a secret: created once, readable by their owner only, flushed before anything depends on them."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def create_once(path: Path, content: Callable[[], bytes]) -> Path:
    """The path, after creating the file with this content if there is none; concurrent processes get the same file."""
    if not path.exists():
        draft = _draft(path, content())
        with suppress(FileExistsError):  # another process was faster: its file stays
            os.link(draft, path)
        draft.unlink()
        flush(path.parent)  # if a power cut lost the key, everything encrypted with it would be lost
    return path


def replace(path: Path, content: bytes) -> None:
    """Replace the content of a file atomically: readers see the old content or the new."""
    _draft(path, content).replace(path)
    flush(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def flush(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk (`fsync`)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
