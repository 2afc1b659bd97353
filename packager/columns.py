"""The columns of a csv or parquet file, and the arrays of an npz or npy file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TypeAlias

from packager.errors import ToolchainError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]
    Columns: TypeAlias = dict[str, Array]

TABLES = (".csv", ".parquet")
"""Suffixes of files whose columns are in an order that means something."""
_OBJECTS = "Object arrays cannot be loaded"
"""How numpy's error begins where an array holds pickles."""


class UnreadableError(Exception):
    """A file that can't be read as data.

    Attributes:
        hint: what to do next.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def read_columns(path: Path) -> Columns:
    """The file's columns or arrays by their names; an npy file's array goes by ``x``. Cells of csv files stay text.

    Raises:
        UnreadableError: it is of no format that is read here, or not what its suffix says.
    """
    readers = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnreadableError(f"expected one of {', '.join(readers)}, got '{path.name}'")
    try:
        size = path.stat().st_size
        if size:
            return reader(path)
    except OSError as error:
        raise UnreadableError(f"'{path.name}' can't be read: {str(error.strerror or error).lower()}") from error
    raise UnreadableError(f"'{path.name}' is empty")


def _read_npz(path: Path) -> Columns:
    import zipfile
    import zlib

    import numpy as np

    hint = f"numpy.savez('{path.name}', x=..., label=...) writes one"
    if not zipfile.is_zipfile(path):
        raise UnreadableError(f"'{path.name}' is not an npz archive, or is cut off", hint=hint)
    columns = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                columns[name] = np.asarray(archive[name])
    except (ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        _refuse_objects(path, error)
        raise UnreadableError(f"'{path.name}' is damaged: its arrays can't be read", hint=hint) from error
    # What is no array of numpy's comes out as bytes.
    strange = next((name for name, array in columns.items() if array.dtype.kind == "S" and not array.ndim), None)
    if strange is not None:
        raise UnreadableError(f"'{path.name}' holds '{strange}', which is not an array", hint=hint)
    return columns


def _read_npy(path: Path) -> Columns:
    import numpy as np

    try:
        with path.open("rb") as stream:
            return {"x": np.lib.format.read_array(stream, allow_pickle=False)}
    except (ValueError, EOFError) as error:
        _refuse_objects(path, error)
        raise UnreadableError(
            f"'{path.name}' is not an npy file, or is cut off", hint=f"numpy.save('{path.name}', array) writes one"
        ) from error


def _refuse_objects(path: Path, error: Exception) -> None:
    """Say it where an array holds pickles: reading those runs code, whatever numpy advises."""
    if str(error).startswith(_OBJECTS):
        raise UnreadableError(
            f"'{path.name}' holds Python objects: expected arrays of numbers or text",
            hint="rows of different lengths become objects; array.astype(...) makes numbers or text of them",
        ) from error


def _read_csv(path: Path) -> Columns:
    import numpy as np

    try:
        # Spreadsheets put a byte order mark before UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except UnicodeDecodeError as error:
        raise UnreadableError(f"'{path.name}' is not text in UTF-8", hint="save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise UnreadableError(f"'{path.name}' can't be read as csv: {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    header, *body = rows or [[]]
    if not body:
        raise UnreadableError(
            f"'{path.name}' has no rows", hint="its first row names the columns, and each further one is a sample"
        )
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise UnreadableError(
                f"'{path.name}', row {number}: expected {len(header)} cells, as in the header, got {len(row)}"
            )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UnreadableError(
            f"'{path.name}' has several columns '{twice}'", hint="rename all but one in its first row"
        )
    return {name: np.array(column) for name, column in zip(header, zip(*body, strict=True), strict=True)}


def _read_parquet(path: Path) -> Columns:
    from packager.registry import installed_version

    if installed_version("pyarrow") is None:
        raise ToolchainError(
            "toolchain.missing",
            "parquet files need pyarrow, not installed here",
            hint="pip install 'packtrain[parquet]'",
        )
    import numpy as np
    import pyarrow.lib
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        return {name: np.asarray(table.column(name).to_numpy()) for name in table.column_names}
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise UnreadableError(
            f"'{path.name}' is not a parquet file, or is damaged", hint="DataFrame.to_parquet writes one"
        ) from error
