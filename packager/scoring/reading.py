"""Rows of a table or an array file, chunk by chunk, as a model's inputs; never the whole file in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from packager.errors import ConfigError
from packager.fingerprints import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from manifests.manifest import Manifest, TensorSection

    Array: TypeAlias = NDArray[np.generic]

ARRAYS = frozenset({".npy", ".npz"})
TABLES = {".csv": "csv", ".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc"}


class Chunk(NamedTuple):
    """Some rows, one after the other."""

    start: int
    """Number of the first row in the whole input, from 0."""
    rows: int
    inputs: dict[str, Array]
    """A tensor for each input of the model; rows that can't be one hold zeros."""
    bad: dict[int, str]
    """What is wrong with a row, by its number in the chunk."""
    kept: dict[str, Array]
    """Columns that go to the output as they are."""


class Source:
    """An input file or folder."""

    def __init__(self, path: Path, manifest: Manifest, *, columns: Sequence[str], keep: Sequence[str]) -> None:
        """`columns` are those of the features, in the model's order; none: by name, or all that are not kept.

        Raises:
            ConfigError: it is of no format that is read, or has not what the model takes.
        """
        self._path = path
        self._signature = manifest.signature
        self._keep = tuple(keep)
        self._features = tuple(feature.name for feature in manifest.baseline.features) if manifest.baseline else ()
        self._columns = tuple(columns)
        if not path.exists():
            raise ConfigError("score.input", f"no file at '{path}'")
        if not path.is_dir() and path.suffix.lower() not in ARRAYS | set(TABLES):
            expected = ", ".join(sorted(ARRAYS | set(TABLES)))
            raise ConfigError("score.input", f"'{path.name}': expected a folder of parquet files, or one of {expected}")

    def identity(self) -> list[list[object]]:
        """What tells this input from another: the files' names, sizes and times of change."""
        files = sorted(self._path.rglob("*")) if self._path.is_dir() else [self._path]
        stats = [(str(file.relative_to(self._path.parent)), file.stat()) for file in files if file.is_file()]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]

    def chunks(self, rows: int) -> Iterator[Chunk]:
        """All rows, in chunks of `rows`; the last may be shorter.

        Raises:
            ConfigError: the file is damaged, or a column is missing.
        """
        if self._path.suffix.lower() in ARRAYS:
            yield from self._from_arrays(rows)
        else:
            yield from self._from_table(rows)

    def count(self) -> int | None:
        """How many rows there are; None: only reading tells."""
        if self._path.suffix.lower() in ARRAYS:
            return len(next(iter(self._arrays().values())))
        return None if self._path.suffix.lower() == ".csv" else int(self._dataset().count_rows())

    def _arrays(self) -> dict[str, Array]:
        try:
            if self._path.suffix.lower() == ".npy":
                return {self._signature.inputs[0].name: np.load(self._path, mmap_mode="r", allow_pickle=False)}
            with np.load(self._path, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
        except (ValueError, EOFError, OSError) as error:
            raise ConfigError("score.input", f"'{self._path.name}' can't be read: {error}") from error

    def _from_arrays(self, rows: int) -> Iterator[Chunk]:
        arrays = self._arrays()
        entries = self._signature.inputs
        if len(entries) == 1 and entries[0].name not in arrays and len(arrays) == 1:
            arrays = {entries[0].name: next(iter(arrays.values()))}
        missing = [name for name in (*(entry.name for entry in entries), *self._keep) if name not in arrays]
        if missing:
            raise self._lacks(missing[0], list(arrays))
        total = min(len(arrays[entry.name]) for entry in entries)
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            inputs = {entry.name: self._cast(arrays[entry.name][start:stop], entry) for entry in entries}
            yield Chunk(start, stop - start, inputs, {}, {name: arrays[name][start:stop] for name in self._keep})

    def _cast(self, array: Array, entry: TensorSection) -> Array:
        try:
            return np.ascontiguousarray(array).reshape(_shape(entry, len(array))).astype(_dtype(entry), copy=False)
        except ValueError as error:
            raise ConfigError(
                "score.input", f"'{self._path.name}' does not fit input '{entry.name}': {error}"
            ) from error

    def _dataset(self) -> pa.dataset.Dataset:
        versions(("pyarrow",), extra="parquet")
        import pyarrow as pa
        import pyarrow.dataset

        form = TABLES.get(self._path.suffix.lower(), "parquet")
        try:
            return pyarrow.dataset.dataset(self._path, format=form)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _from_table(self, rows: int) -> Iterator[Chunk]:
        import pyarrow as pa

        dataset = self._dataset()
        names = self._chosen(dataset.schema.names)
        wanted = list(dict.fromkeys([*(column for columns in names.values() for column in columns), *self._keep]))
        start = 0
        try:
            for batch in _rebatched(dataset.to_batches(columns=wanted, batch_size=rows), rows):
                yield self._chunk(start, batch, names)
                start += batch.num_rows
        except pa.ArrowException as error:
            raise self._damaged(error) from error

    def _chosen(self, present: list[str]) -> dict[str, tuple[str, ...]]:
        """The columns of each input."""
        entries = self._signature.inputs
        missing = [name for name in (*self._columns, *self._keep) if name not in present]
        if missing:
            raise self._lacks(missing[0], present)
        if len(entries) > 1 or entries[0].name in present:
            absent = [entry.name for entry in entries if entry.name not in present]
            if absent:
                raise self._lacks(absent[0], present)
            return {entry.name: (entry.name,) for entry in entries}
        if self._columns:
            chosen = self._columns
        elif self._features and set(self._features) <= set(present):
            chosen = self._features
        else:
            chosen = tuple(name for name in present if name not in self._keep)
        return {entries[0].name: chosen}

    def _chunk(self, start: int, batch: pa.RecordBatch, names: dict[str, tuple[str, ...]]) -> Chunk:
        bad: dict[int, str] = {}
        inputs = {
            entry.name: self._tensor([batch.column(name) for name in names[entry.name]], entry, names[entry.name], bad)
            for entry in self._signature.inputs
        }
        kept = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in self._keep}
        return Chunk(start, batch.num_rows, inputs, bad, kept)

    def _tensor(
        self, columns: list[pa.Array], entry: TensorSection, names: tuple[str, ...], bad: dict[int, str]
    ) -> Array:
        parts = [_numbers(column, entry, name, bad) for column, name in zip(columns, names, strict=True)]
        joined = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
        try:
            return np.ascontiguousarray(joined).reshape(_shape(entry, len(joined)))
        except ValueError as error:
            raise ConfigError(
                "score.input",
                f"'{self._path.name}' has {joined.size // max(len(joined), 1)} values a row "
                f"for input '{entry.name}': expected {list(entry.shape[1:])}",
                hint="--column names the columns of the features",
            ) from error

    def _lacks(self, name: str, present: Sequence[str]) -> ConfigError:
        some = ", ".join(present[:12]) + (", ..." if len(present) > 12 else "")  # noqa: PLR2004 - fits a line
        return ConfigError("score.input", f"'{self._path.name}' has no '{name}': it has {some}")

    def _damaged(self, error: Exception) -> ConfigError:
        return ConfigError("score.input", f"'{self._path.name}' can't be read: {str(error).splitlines()[0]}")


def _rebatched(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of exactly `rows`, so that chunks have the same borders in every run."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.num_rows
        while held >= rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows).combine_chunks().to_batches(max_chunksize=rows)[0]
            rest = table.slice(rows)
            waiting, held = rest.to_batches(), held - rows
    if held:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches(max_chunksize=rows)[0]


def _numbers(column: pa.Array, entry: TensorSection, name: str, bad: dict[int, str]) -> Array:
    """The column's values in the input's dtype; a row whose cell is none is noted in `bad` and holds zero."""
    import pyarrow as pa
    import pyarrow.compute

    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return _lists(column, entry, name, bad)
    dtype = _dtype(entry)
    if entry.dtype == "string":
        _note(bad, column.is_null().to_numpy(zero_copy_only=False), name, "is empty")
        return np.asarray(column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _parsed(column, dtype, name, bad)
    null = column.is_null().to_numpy(zero_copy_only=False)
    if dtype.kind == "f":
        # A missing number is NaN, which many models know.
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype)
    _note(bad, null, name, "is empty")
    values = pyarrow.compute.fill_null(column, False if pa.types.is_boolean(column.type) else 0).to_numpy(
        zero_copy_only=False
    )
    whole = values == np.trunc(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        whole &= (values >= limits.min) & (values <= limits.max)
    _note(bad, ~whole, name, f"is no {entry.dtype}")
    return np.where(whole, values, 0).astype(dtype)


def _parsed(column: pa.Array, dtype: np.dtype[np.generic], name: str, bad: dict[int, str]) -> Array:
    values = np.zeros(len(column), dtype)
    for row, text in enumerate(column.to_pylist()):
        try:
            values[row] = dtype.type(text)
        except (ValueError, TypeError, OverflowError):
            bad.setdefault(row, f"column '{name}' is no {dtype.name}: '{text}'")
    return values


def _lists(column: pa.Array, entry: TensorSection, name: str, bad: dict[int, str]) -> Array:
    size = int(np.prod([size for size in entry.shape[1:] if isinstance(size, int)], dtype=np.int64))
    values = np.zeros((len(column), size), _dtype(entry))
    for row, cell in enumerate(column.to_pylist()):
        try:
            values[row] = np.asarray(cell, dtype=values.dtype).ravel()
        except (ValueError, TypeError, OverflowError):
            bad.setdefault(row, f"column '{name}' does not hold {size} values of {entry.dtype}")
    return values


def _note(bad: dict[int, str], wrong: Array, name: str, what: str) -> None:
    for row in np.flatnonzero(wrong).tolist():
        bad.setdefault(row, f"column '{name}' {what}")


def _shape(entry: TensorSection, rows: int) -> list[int]:
    """The input's shape for so many rows; at most one other free dimension is found out by numpy."""
    return [rows, *(size if isinstance(size, int) else -1 for size in entry.shape[1:])]


def _dtype(entry: TensorSection) -> np.dtype[np.generic]:
    return np.dtype(object if entry.dtype == "string" else entry.dtype)
