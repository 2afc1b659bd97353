"""What was scored, part by part beside the output, and joined when the last part is there."""

from __future__ import annotations

import os
import shutil
import zipfile
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from packager.errors import ConfigError
from packager.fingerprints import versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from manifests.manifest import Manifest
    from packager.scoring.calling import Scored
    from packager.scoring.reading import Chunk

    Array: TypeAlias = NDArray[np.generic]

FORMATS = frozenset({".csv", ".parquet", ".arrow", ".npz"})
_STATE = "run.json"
_FAILED = "\0failed"
"""The name of what is no column: the errors of a part's rows, as JSON."""
_END = b"whole"
"""The last bytes of a part: without them it was cut off."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What tells one run from another: parts of another run are never joined with this one's."""

    bundle: str
    """The bundle's digest."""
    source: list[list[object]]
    columns: list[str]
    keep: list[str]
    rows: int
    """Of a part."""


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the side file."""

    row: int
    """In the input, from 0."""
    error: str


class Output:
    """The output file, its parts, and the side file ``NAME.errors.jsonl``."""

    def __init__(self, path: Path, manifest: Manifest, run: Run) -> None:
        """Raises ConfigError where parts of another run stand beside the output, or its format is not written."""
        if path.suffix.lower() not in FORMATS:
            raise ConfigError("score.output", f"'{path.name}': expected one of {', '.join(sorted(FORMATS))}")
        if path.suffix.lower() != ".npz":
            versions(("pyarrow",), extra="parquet")
        self.path = path
        self.errors = path.with_name(f"{path.name}.errors.jsonl")
        self._parts = path.with_name(f"{path.name}.parts")
        self._task = manifest.model.task
        self._open(run)

    def done(self) -> int:
        """How many parts stand there, from the first on without a gap."""
        count = 0
        while _whole(self._part(count)):
            count += 1
        return count

    def write(self, number: int, chunk: Chunk, scored: Scored) -> int:
        """One part, there as a whole or not at all; gives how many of its rows failed."""
        failed = {**scored.failed, **chunk.bad}
        columns = self._columns(chunk, scored, failed)
        lines = [RowError(row=chunk.start + row, error=failed[row]) for row in sorted(failed)]
        columns[_FAILED] = np.array([msgspec.json.encode(lines).decode()])
        temporary = self._parts / "writing"
        with temporary.open("wb") as stream:
            np.lib.format.write_array(stream, np.array(list(columns)), allow_pickle=False)
            for array in columns.values():
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
            stream.write(_END)
        temporary.rename(self._part(number))
        return len(failed)

    def join(self) -> tuple[int, int]:
        """Make the output of all parts, and remove them; gives its rows and how many failed."""
        temporary = self.path.with_name(f"{self.path.name}.joining")
        rows, failed = 0, 0
        with self.errors.open("wb") as side:
            for part in self._all():
                lines = msgspec.json.decode(str(part[_FAILED][0]), type=list[RowError])
                side.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
                failed += len(lines)
                rows += len(part["row"])
        if not failed:
            self.errors.unlink()
        if self.path.suffix.lower() == ".npz":
            self._join_arrays(temporary, rows)
        else:
            self._join_table(temporary)
        temporary.replace(self.path)
        shutil.rmtree(self._parts)
        return rows, failed

    def _open(self, run: Run) -> None:
        state = self._parts / _STATE
        document = msgspec.json.encode(run)
        if not state.is_file():
            self._parts.mkdir(parents=True, exist_ok=True)
            state.write_bytes(document)
        elif state.read_bytes() != document:
            raise ConfigError(
                "score.parts",
                f"'{self._parts.name}' holds parts of another run: of another input, bundle or choice of columns",
                hint=f"remove the folder '{self._parts}' to begin anew",
            )

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:08}"

    def _all(self) -> Iterator[dict[str, Array]]:
        for number in range(self.done()):
            with self._part(number).open("rb") as stream:
                names = np.lib.format.read_array(stream, allow_pickle=False).tolist()
                yield {name: np.lib.format.read_array(stream, allow_pickle=False) for name in names}

    def _columns(self, chunk: Chunk, scored: Scored, failed: dict[int, str]) -> dict[str, Array]:
        """Arrays by name, a row for each of the chunk's; those of rows that failed hold NaN, or zero."""
        columns: dict[str, Array] = {"row": np.arange(chunk.start, chunk.start + chunk.rows)}
        columns |= {name: _plain(array) for name, array in chunk.kept.items()}
        ok = np.ones(chunk.rows, bool)
        ok[list(failed)] = False
        for name, array in scored.outputs.items():
            values = _plain(array)
            if values.dtype.kind == "f":
                values = values.copy()
                values[~ok] = np.nan
            columns[name] = values
        scores = scored.outputs.get(self._task.output)
        if self._task.labels and scores is not None and scores.ndim > 1 and scores.shape[-1] == len(self._task.labels):
            winners = np.array(self._task.labels)[scores.reshape(chunk.rows, -1, scores.shape[-1])[:, 0].argmax(axis=1)]
            columns["label"] = np.where(ok, winners, "")
        columns["ok"] = ok
        return columns

    def _join_arrays(self, temporary: Path, rows: int) -> None:
        """An npz of all parts, array by array, so that one part at a time is in memory."""
        first = next(self._all(), {})
        with zipfile.ZipFile(temporary, "w") as archive:
            for name in first:
                if name == _FAILED:
                    continue
                # Texts have the width of the longest of all parts.
                dtype = np.result_type(*(part[name].dtype for part in self._all()))
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array_header_2_0(
                        stream,
                        {
                            "descr": np.lib.format.dtype_to_descr(dtype),
                            "fortran_order": False,
                            "shape": (rows, *first[name].shape[1:]),
                        },
                    )
                    for part in self._all():
                        stream.write(part[name].astype(dtype, copy=False).data)

    def _join_table(self, temporary: Path) -> None:
        import pyarrow.csv
        import pyarrow.ipc
        import pyarrow.parquet

        writer = None
        kind = self.path.suffix.lower()
        try:
            for part in self._all():
                table = _table(part, lists=kind != ".csv")
                if writer is None:
                    opened = {
                        ".csv": pyarrow.csv.CSVWriter,
                        ".parquet": pyarrow.parquet.ParquetWriter,
                        ".arrow": pyarrow.ipc.new_file,
                    }[kind]
                    writer = opened(str(temporary), table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
            else:
                temporary.touch()


def _whole(path: Path) -> bool:
    """Whether a part stands there with all its bytes; a power cut can leave one with its name and without them."""
    if not path.is_file() or path.stat().st_size < len(_END):
        return False
    with path.open("rb") as stream:
        stream.seek(-len(_END), os.SEEK_END)
        return stream.read() == _END


def _plain(array: Array) -> Array:
    """Texts as numpy's own, which need no pickle."""
    return array.astype(str) if array.dtype.kind == "O" else array


def _table(part: dict[str, Array], *, lists: bool) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for name, array in part.items():
        if name == _FAILED:
            continue
        if array.ndim == 1:
            columns[name] = pa.array(array)
        elif lists:
            flat = pa.array(array.reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))
        else:
            cells = array.reshape(len(array), -1)
            columns |= {f"{name}.{place}": pa.array(cells[:, place].copy()) for place in range(cells.shape[1])}
    return pa.table(columns)
