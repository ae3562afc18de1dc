"""Checks an uploaded checkpoint against an architecture, from the file's header and bytes, without torch."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from service.registry.errors import RegistryError
from service.registry.models.architectures import ExpectedTensor

CHUNK = 1 << 22  # bytes read at a time, a multiple of every item size
HEADER_LIMIT = 1 << 22  # bytes; fifty times the header of the largest allowed network
REPORTED_TENSORS = 10  # most tensors named in one rejection
LENGTH_SIZE = 8  # bytes at the start of the file: the header's length, little endian

# Integer type and exponent mask of each floating type.
# A number is infinite or NaN exactly when every bit of its exponent is set.
EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F80_0000), "F64": ("<u8", 0x7FF << 52)}


class CheckpointRejected(RegistryError):
    """The checkpoint does not fit the architecture.

    `tensors` holds (name, what is wrong) for the first ten of the `total` tensors concerned.
    """

    def __init__(self, detail: str, tensors: list[tuple[str, str]] | None = None) -> None:
        self.total = len(tensors or [])
        # A name comes from the file, where it may be as long as the header.
        self.tensors = [(name[:200], problem) for name, problem in (tensors or [])[:REPORTED_TENSORS]]
        super().__init__(detail)


def inspect(path: Path, expected: Mapping[str, ExpectedTensor]) -> None:
    """Check a checkpoint file, in constant memory. `expected` comes from `expected_tensors`.

    Format: https://github.com/huggingface/safetensors#format, which allows NaN and infinity; this check does not.

    Raises:
        CheckpointRejected: the file is not whole safetensors, a tensor is missing, unknown or of another shape or type,
            or a weight is NaN or infinite.
    """
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(LENGTH_SIZE), "little")
    if header_size > HEADER_LIMIT:
        raise CheckpointRejected("This is not a safetensors file, or its header is too large.")
    tensors = _header(path)
    if problems := list(_mismatches(tensors, expected)):
        raise CheckpointRejected(
            f"The checkpoint does not fit the architecture: {len(problems)} tensors differ.", problems
        )
    if problems := list(_not_finite(path, tensors, LENGTH_SIZE + header_size)):
        raise CheckpointRejected(f"{len(problems)} tensors hold NaN or infinite values.", problems)


def _header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The type and shape of every tensor, in the order of their bytes, which follow each other without a gap."""
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            return {name: (tensor.get_dtype(), tuple(tensor.get_shape())) for name, tensor in slices.items()}
    except SafetensorError as error:
        raise CheckpointRejected(f"This is not a whole safetensors file. {error}.") from error


def _mismatches(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, ExpectedTensor]
) -> Iterator[tuple[str, str]]:
    for name, spec in expected.items():
        if name not in tensors:
            if not spec.optional:
                yield name, "is missing"
            continue
        dtype, shape = tensors[name]
        allowed = ("I64",) if spec.integer else tuple(EXPONENTS)
        if shape != spec.shape:
            yield name, f"has shape {shape}, expected {spec.shape}"
        elif dtype not in allowed:
            yield name, f"has type {dtype}, expected {' or '.join(allowed)}"
    for name in tensors.keys() - expected.keys():
        yield name, "is not part of the architecture"


def _not_finite(
    path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]], start: int
) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for name, (dtype, shape) in tensors.items():
            if dtype == "I64":
                start += 8 * math.prod(shape)
                continue
            dtype_name, exponent = EXPONENTS[dtype]
            bits = np.dtype(dtype_name)
            size = bits.itemsize * math.prod(shape)
            if any(((chunk & exponent) == exponent).any() for chunk in _chunks(file, start, size, bits)):
                yield name, "holds NaN or infinite values"
            start += size


def _chunks(file: BinaryIO, start: int, size: int, bits: "np.dtype[np.unsignedinteger]") -> Iterator["np.ndarray"]:
    file.seek(start)
    for offset in range(0, size, CHUNK):
        yield np.frombuffer(file.read(min(CHUNK, size - offset)), bits)
