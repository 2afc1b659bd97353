"""Real samples from npz, npy, csv and parquet files, or generated ones, shaped as a model's inputs."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from packager.errors import ConfigError, ConversionError, ToolchainError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection

    Array: TypeAlias = NDArray[np.generic]
    Columns: TypeAlias = dict[str, Array]

GENERATED_SAMPLES = 64
_FREE_DIMENSION = 8
"""The size of a free dimension other than the first, in generated samples."""
_GENERIC = ("x", "X", "data", "inputs", "input", "features")
"""Names of the one array that is the samples, where a file holds others too."""


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of ``[data]``."""

    field: str
    """``data.calibration``, ``data.evaluation`` or ``data.training``."""
    path: str
    digest: str


class DataFiles(msgspec.Struct, frozen=True, kw_only=True):
    """``[data]`` as a job needs it."""

    calibration: DataFile | None = None
    evaluation: DataFile | None = None
    training: DataFile | None = None
    label: str = ""
    features: tuple[str, ...] = ()

    def digests(self) -> dict[str, str | list[str]]:
        """What of this counts in a cache key: contents and columns, never a path."""
        files = {
            name: entry.digest for name in ("calibration", "evaluation", "training") if (entry := getattr(self, name))
        }
        return {**files, "label": self.label, "features": list(self.features)}


class Samples:
    """Samples as a model takes them."""

    def __init__(
        self,
        inputs: dict[str, Array],
        labels: Array | None,
        names: dict[str, tuple[str, ...]],
        origin: Literal["data", "generated"],
    ) -> None:
        """`inputs`: array of (samples, ...) by input; `names`: the features of an input, where the file names them."""
        self.inputs = inputs
        self.labels = labels
        self.names = names
        self.origin = origin

    def __len__(self) -> int:
        return min((len(array) for array in self.inputs.values()), default=0)

    def head(self, count: int) -> Samples:
        """At most `count` samples, spread evenly over all."""
        import numpy as np

        if len(self) <= count:
            return self
        chosen = np.linspace(0, len(self) - 1, count).astype(int)
        inputs = {name: array[chosen] for name, array in self.inputs.items()}
        return Samples(inputs, None if self.labels is None else self.labels[chosen], self.names, self.origin)


def read_samples(
    file: DataFile, files: DataFiles, signature: SignatureSection, *, names: tuple[str, ...] = ()
) -> Samples:
    """The samples in `file`, cast and reshaped to the model's inputs.

    Arrays go to the inputs of their names; the columns of a table, or the only array, go to the only input. `names`
    are the features as the model's framework knows them: where ``[data] features`` says nothing and the table has
    them all, they are taken in the model's order.

    Raises:
        ConfigError: the file can't be read, a column is missing, or it does not fit the model.
    """
    columns, table = _read(file)
    labels = _labels(file, files, columns)
    chosen = _features(file, files, columns, names if table else ())
    if table:
        inputs, called = _from_table(file, chosen, signature)
    else:
        inputs, called = _from_arrays(file, chosen, signature), {}
    shaped = {entry.name: _shaped(file, inputs[entry.name], entry) for entry in signature.inputs}
    lengths = {len(array) for array in shaped.values()} | ({len(labels)} if labels is not None else set())
    if len(lengths) != 1 or lengths == {0}:
        raise _unfit(file, f"arrays have {sorted(lengths)} samples: expected the same number, at least one")
    return Samples(shaped, labels, called, "data")


def generate_samples(signature: SignatureSection) -> Samples:
    """Samples drawn from fixed seeds: floats from N(0, 1), integers from 0 to 9, booleans.

    Raises:
        ConversionError: an input is a string, which can't be made up.
    """
    import numpy as np

    random = np.random.Generator(np.random.PCG64(0))
    inputs: dict[str, Array] = {}
    for entry in signature.inputs:
        if entry.dtype == "string":
            raise ConversionError(
                "samples.string",
                f"no sample can be made up for input '{entry.name}', which is text",
                hint="give [data] calibration or evaluation",
            )
        inner = tuple(size if isinstance(size, int) else _FREE_DIMENSION for size in entry.shape[1:])
        shape = (GENERATED_SAMPLES, *inner) if entry.shape else (GENERATED_SAMPLES,)
        dtype = np.dtype(entry.dtype)
        if dtype.kind == "f":
            inputs[entry.name] = random.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            inputs[entry.name] = random.integers(0, 2, shape).astype(dtype)
        else:
            inputs[entry.name] = random.integers(0, 10, shape).astype(dtype)
    return Samples(inputs, None, {}, "generated")


def _read(file: DataFile) -> tuple[Columns, bool]:
    """The arrays of the file, and whether they are the columns of a table."""
    import numpy as np

    path = Path(file.path)
    readers = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _unfit(file, f"expected one of {', '.join(readers)}, got '{path.name}'")
    try:
        columns = reader(path)
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise _unfit(file, f"'{path.name}' can't be read: {error}") from error
    return {name: np.asarray(column) for name, column in columns.items()}, reader in (_read_csv, _read_parquet)


def _read_npz(path: Path) -> Columns:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def _read_npy(path: Path) -> Columns:
    import numpy as np

    return {"x": np.load(path, allow_pickle=False)}


def _read_csv(path: Path) -> Columns:
    import numpy as np

    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        columns = list(zip(*rows, strict=True))
    if len(columns) != len(header):
        raise ValueError(f"expected {len(header)} columns, got {len(columns)}")
    return {name: np.array(column) for name, column in zip(header, columns, strict=True)}


def _read_parquet(path: Path) -> Columns:
    from packager.registry import installed_version

    if installed_version("pyarrow") is None:
        raise ToolchainError(
            "toolchain.missing",
            "parquet files need pyarrow, not installed here",
            hint="pip install 'packtrain[parquet]'",
        )
    import pyarrow.lib
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.lib.ArrowException as error:
        raise ValueError(str(error)) from error
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _labels(file: DataFile, files: DataFiles, columns: Columns) -> Array | None:
    if not files.label:
        return None
    if files.label in columns:
        return columns[files.label].reshape(-1)
    if file.field == "data.evaluation":
        raise _unfit(file, f"no column '{files.label}', the label: expected one of {_some(columns)}")
    return None


def _features(file: DataFile, files: DataFiles, columns: Columns, names: tuple[str, ...]) -> Columns:
    if not files.features:
        if names and all(name in columns for name in names):
            return {name: columns[name] for name in names}
        return {name: column for name, column in columns.items() if name != files.label}
    missing = [name for name in files.features if name not in columns]
    if missing:
        raise _unfit(file, f"no column '{missing[0]}', a feature: expected one of {_some(columns)}")
    return {name: columns[name] for name in files.features}


def _from_table(
    file: DataFile, columns: Columns, signature: SignatureSection
) -> tuple[Columns, dict[str, tuple[str, ...]]]:
    import numpy as np

    if len(signature.inputs) > 1:
        missing = [entry.name for entry in signature.inputs if entry.name not in columns]
        if missing:
            raise _unfit(file, f"no column '{missing[0]}', an input of the model: expected one of {_some(columns)}")
        return columns, {entry.name: (entry.name,) for entry in signature.inputs}
    only = signature.inputs[0]
    try:
        kind = np.str_ if only.dtype == "string" else np.dtype(only.dtype)
        packed = np.stack([column.astype(kind) for column in columns.values()], axis=1)
    except ValueError as error:
        raise _unfit(
            file, f"a column is not of the model's type {only.dtype}: {error}", hint="say which in [data] features"
        ) from error
    return {only.name: packed}, {only.name: tuple(columns)}


def _from_arrays(file: DataFile, arrays: Columns, signature: SignatureSection) -> Columns:
    names = [entry.name for entry in signature.inputs]
    if all(name in arrays for name in names):
        return arrays
    if len(names) > 1:
        missing = [name for name in names if name not in arrays]
        raise _unfit(file, f"no array '{missing[0]}', an input of the model: expected one of {_some(arrays)}")
    generic = [name for name in _GENERIC if name in arrays]
    if len(arrays) == 1 or generic:
        return {names[0]: arrays[generic[0] if generic else next(iter(arrays))]}
    raise _unfit(
        file,
        f"can't tell which array is the input '{names[0]}': expected one of that name, got {_some(arrays)}",
        hint="name it in [data] features",
    )


def _shaped(file: DataFile, array: Array, entry: TensorSection) -> Array:
    """The array in the input's dtype, each sample in the input's shape."""
    import numpy as np

    inner = entry.shape[1:]
    if any(isinstance(size, str) for size in inner) or not entry.shape:
        fitting = array.ndim == max(1, len(entry.shape))
        shape = array.shape
    else:
        sizes = tuple(size for size in inner if isinstance(size, int))
        fitting = math.prod(array.shape[1:]) == math.prod(sizes)
        shape = (len(array) if array.ndim else 0, *sizes)
    if not fitting:
        raise _unfit(
            file,
            f"samples do not fit input '{entry.name}': "
            f"expected shape [{', '.join(map(str, entry.shape))}], got {list(array.shape)}",
        )
    if entry.dtype == "string":
        return array.reshape(shape).astype(np.str_).astype(object)
    if array.dtype.kind not in "biuf":
        try:
            array = array.astype(np.float64)
        except ValueError as error:
            raise _unfit(file, f"input '{entry.name}' takes numbers: {error}") from error
    return np.ascontiguousarray(array.reshape(shape).astype(entry.dtype))


def _some(columns: Columns) -> str:
    names = list(columns)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")  # noqa: PLR2004 - as many as a line holds


def _unfit(file: DataFile, problem: str, *, hint: str = "") -> ConfigError:
    return ConfigError("config.data", f"'{file.field}': {problem}", hint=hint)
