"""Is this uploaded file a checkpoint for that architecture? Answered from its header and its bytes, without torch."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from service.registry.errors import RegistryError
from service.registry.models.architectures import Expected

CHUNK = 1 << 22  # bytes read at a time, a multiple of every item size
HEADER_LIMIT = 1 << 22  # bytes; the largest allowed network needs a fiftieth of it
REPORTED = 10  # tensors named in one rejection
LENGTH = 8  # bytes: the header's length, little endian, opens the file

# A floating number is infinite or NaN exactly when every bit of its exponent is set.
EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F80_0000), "F64": ("<u8", 0x7FF << 52)}


class CheckpointRejected(RegistryError):
    """The checkpoint does not fit the architecture.

    `tensors` holds (name, what is wrong) for the first ten of the `total` tensors concerned.
    """

    def __init__(self, detail: str, tensors: list[tuple[str, str]] | None = None) -> None:
        self.total = len(tensors or [])
        # A name comes from the file, where it may be as long as the header.
        self.tensors = [(name[:200], wrong) for name, wrong in (tensors or [])[:REPORTED]]
        super().__init__(detail)


def inspect(path: Path, expected: Mapping[str, Expected]) -> None:
    """Accept the file, or say why not. `expected` comes from `expected_tensors`; memory does not grow with the file.

    Raises CheckpointRejected when the file is not whole safetensors, when a tensor is missing, unknown or of another
    shape or type, and when a weight is NaN or infinite, which the format itself allows.
    Source: the format's description, https://github.com/huggingface/safetensors#format.
    """
    with path.open("rb") as file:
        header = int.from_bytes(file.read(LENGTH), "little")
    if header > HEADER_LIMIT:
        raise CheckpointRejected("This is not a safetensors file, or its header is too large.")
    found = _header(path)
    if wrong := list(_misfits(found, expected)):
        raise CheckpointRejected(f"The checkpoint does not fit the architecture: {len(wrong)} tensors differ.", wrong)
    if wrong := list(_not_finite(path, found, LENGTH + header)):
        raise CheckpointRejected(f"{len(wrong)} tensors hold NaN or infinite values.", wrong)


def _header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The type and shape of every tensor, in the order of their bytes, which follow each other without a gap."""
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        raise CheckpointRejected(f"This is not a whole safetensors file. {error}.") from error


def _misfits(
    found: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, Expected]
) -> Iterator[tuple[str, str]]:
    for name, want in expected.items():
        if name not in found:
            if not want.optional:
                yield name, "is missing"
            continue
        dtype, shape = found[name]
        allowed = ("I64",) if want.integer else tuple(EXPONENTS)
        if shape != want.shape:
            yield name, f"has shape {shape}, expected {want.shape}"
        elif dtype not in allowed:
            yield name, f"has type {dtype}, expected {' or '.join(allowed)}"
    for name in found.keys() - expected.keys():
        yield name, "is not part of the architecture"


def _not_finite(path: Path, found: Mapping[str, tuple[str, tuple[int, ...]]], start: int) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for name, (dtype, shape) in found.items():
            if dtype == "I64":
                start += 8 * math.prod(shape)
                continue
            kind, exponent = EXPONENTS[dtype]
            bits = np.dtype(kind)
            size = bits.itemsize * math.prod(shape)
            if any(((part & exponent) == exponent).any() for part in _parts(file, start, size, bits)):
                yield name, "holds NaN or infinite values"
            start += size


def _parts(file: BinaryIO, start: int, size: int, bits: "np.dtype[np.unsignedinteger]") -> Iterator["np.ndarray"]:
    file.seek(start)
    for offset in range(0, size, CHUNK):
        yield np.frombuffer(file.read(min(CHUNK, size - offset)), bits)
