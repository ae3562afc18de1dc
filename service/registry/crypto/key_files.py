"""Files that hold a secret: made once, readable by nobody else, and on the disk before anything depends on them."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def made_once(path: Path, content: Callable[[], bytes]) -> Path:
    """The file, made with this content if there is none; for all processes that start at once the same one."""
    if not path.exists():
        draft = _draft(path, content())
        with suppress(FileExistsError):  # another process was faster: its secret counts
            os.link(draft, path)
        draft.unlink()
        flush(path.parent)  # a key that a power cut takes would take with it what it opens
    return path


def replace(path: Path, content: bytes) -> None:
    """Put this content in the place of what was there; whoever reads meanwhile finds the one or the other, whole."""
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
    """Have what was written to a file, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
