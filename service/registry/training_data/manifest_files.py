"""Uploaded training manifests: CSV or Parquet, a row for each image that a version was trained on.

Every row is validated here. The results are pseudonyms, and the URIs in a file of their own.
"""

import csv
import io
import re
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import MOST_FAULTS, Fault, InvalidInput

COLUMNS = ("sample_id", "subject_id", "label", "uri")

MAX_IDENTIFIER = 500  # characters
_MAX_URI = 2000  # characters
_MAX_CELL = 1 << 16  # bytes, checked before a cell is decoded
_BATCH = 1000  # rows of a Parquet file that are held at once

_URI = re.compile(r"[a-z][a-z0-9+.-]*://.+")

Cells = Sequence[Any]  # in the order of `COLUMNS`


@dataclass(frozen=True)
class ManifestLimits:
    """Upper limits of one manifest."""

    rows: int
    bytes: int  # uncompressed


@dataclass(frozen=True)
class Row:
    """A row as it is stored."""

    sample_hmac: bytes
    subject_hmac: bytes | None
    label: int


class Rows:
    """Checked rows, 69 bytes each: they wait in memory, so that no transaction is open while a file is read."""

    _layout = struct.Struct("<32s?32si")

    def __init__(self) -> None:
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // self._layout.size

    def __iter__(self) -> Iterator[Row]:
        for sample, has_subject, subject, label in self._layout.iter_unpack(self._packed):
            yield Row(sample, subject if has_subject else None, label)

    def append(self, row: Row) -> None:
        """Add a row."""
        has_subject = row.subject_hmac is not None
        self._packed += self._layout.pack(row.sample_hmac, has_subject, row.subject_hmac or b"", row.label)


def validate(
    file: BinaryIO, target: io.BufferedIOBase, *, classes: list[str], pseudonyms: Pseudonyms, limits: ManifestLimits
) -> Rows:
    """Validate a manifest; its rows. Their URIs are written to `target`, a line for each.

    A label is the name of a class, or its position; where a class has a number for a name, the name counts. A record
    needs no subject.

    Raises:
        InvalidInput: with a fault for each invalid cell, at most `MOST_FAULTS`.
    """
    is_parquet = file.read(4) == b"PAR1"
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > limits.bytes:
        raise _too_large(limits)
    check: dict[str, Callable[[Any], Any]] = {
        "sample_id": _identifier,
        "subject_id": _optional_identifier,
        "label": partial(_class_index, classes={name: at for at, name in enumerate(classes)}),
        "uri": _uri,
    }
    rows, sample_hmacs, faults = Rows(), set[bytes](), list[Fault]()
    for at, cells in enumerate(_parquet(file, limits) if is_parquet else _csv(file)):
        if at == limits.rows:
            raise InvalidInput(Fault("#/manifest", f"has more than {limits.rows} rows"))
        values: dict[str, Any] = {}
        for name, cell in zip(COLUMNS, cells, strict=True):
            try:
                values[name] = check[name](cell)
            except _CellError as error:
                faults.append(Fault(f"#/manifest/rows/{at}/{name}", str(error)))
        if len(values) == len(COLUMNS):
            sample_hmac, subject = pseudonyms.record(values["sample_id"]), values["subject_id"]
            if sample_hmac in sample_hmacs:
                faults.append(Fault(f"#/manifest/rows/{at}/sample_id", "stands in an earlier row, too"))
            sample_hmacs.add(sample_hmac)
            rows.append(Row(sample_hmac, pseudonyms.subject(subject) if subject else None, values["label"]))
            target.write(f"{values['uri']}\n".encode())
        if len(faults) >= MOST_FAULTS:
            break
    if faults:
        raise InvalidInput(*faults[:MOST_FAULTS])
    if not rows:
        raise InvalidInput(Fault("#/manifest", "holds no row"))
    return rows


def read_uris(file: BinaryIO, rows: Collection[int]) -> dict[int, str]:
    """The URIs of these rows of a manifest, from what `validate` wrote."""
    with io.TextIOWrapper(file, encoding="utf-8", newline="\n") as lines:
        return {at: line.rstrip("\n") for at, line in enumerate(lines) if at in rows}


def _csv(file: BinaryIO) -> Iterator[Cells]:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        reader = csv.reader(text, strict=True)
        header = next(reader, [])
        indices = _column_indices(header)
        for at, row in enumerate(filter(None, reader)):  # an empty line is no row
            if len(row) != len(header):
                raise InvalidInput(Fault(f"#/manifest/rows/{at}", f"has {len(row)} cells and not {len(header)}"))
            yield [row[index] for index in indices]
    except UnicodeDecodeError as error:
        raise InvalidInput(Fault("#/manifest", "is neither a Parquet file nor text in UTF-8")) from error
    except csv.Error as error:
        raise InvalidInput(Fault("#/manifest", "is not a well-formed CSV file")) from error
    finally:
        text.detach()


def _parquet(file: BinaryIO, limits: ManifestLimits) -> Iterator[Cells]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        # As dictionaries: a long value that a small file repeats a million times is decoded once.
        table = parquet.ParquetFile(file, read_dictionary=list(COLUMNS))
        _column_indices(table.schema_arrow.names)
        groups = (table.metadata.row_group(at) for at in range(table.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > limits.bytes:
            raise _too_large(limits)
        for batch in table.iter_batches(_BATCH, columns=list(COLUMNS)):
            yield from zip(*(_cells(batch.column(name)) for name in COLUMNS), strict=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(Fault("#/manifest", "is a damaged Parquet file, or uses something unknown")) from error


def _cells(column: Any) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    if pa.types.is_dictionary(column.type) and not pa.types.is_integer(column.type.value_type):
        longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
        if longest > _MAX_CELL:
            raise InvalidInput(Fault("#/manifest", f"has a cell of more than {_MAX_CELL} bytes"))
    cells: list[Any] = column.to_pylist()
    return cells


def _column_indices(header: Sequence[str]) -> list[int]:
    """The indices of `COLUMNS` in the header, which may have other columns, too."""
    faults = [
        Fault(f"#/manifest/columns/{name}", "is missing" if name not in header else "is there more than once")
        for name in COLUMNS
        if header.count(name) != 1
    ]
    if faults:
        raise InvalidInput(*faults)
    return [header.index(name) for name in COLUMNS]


class _CellError(Exception):
    """A cell is invalid; the message does not repeat its content."""


def _text(cell: object) -> str:
    if type(cell) is int:
        return str(cell)
    if cell is None or cell == "":
        raise _CellError("is empty")
    if not isinstance(cell, str):
        raise _CellError("must be text, or an integer")
    return cell


def _identifier(cell: object) -> str:
    text = _text(cell)
    if len(text) > MAX_IDENTIFIER:
        raise _CellError(f"has more than {MAX_IDENTIFIER} characters")
    return text


def _optional_identifier(cell: object) -> str | None:
    return None if cell in (None, "") else _identifier(cell)


def _class_index(cell: object, classes: dict[str, int]) -> int:
    text = _text(cell)
    if isinstance(cell, str) and text in classes:
        return classes[text]
    if text.isdecimal() and len(text) < 10 and int(text) < len(classes):
        return int(text)
    raise _CellError(f"must be a class of the model: its name, or 0 to {len(classes) - 1}")


def _uri(cell: object) -> str:
    text = _text(cell)
    if len(text) > _MAX_URI:
        raise _CellError(f"has more than {_MAX_URI} characters")
    if not text.isprintable() or not _URI.fullmatch(text):
        raise _CellError("must be a URI, such as s3://bucket/key")
    return text


def _too_large(limits: ManifestLimits) -> InvalidInput:
    return InvalidInput(Fault("#/manifest", f"has more than {limits.bytes} bytes uncompressed"))
