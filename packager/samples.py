"""Real samples from npz, npy, csv and parquet files, or generated ones, shaped as a model's inputs."""

from __future__ import annotations

import math
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import msgspec

from packager.columns import TABLES, UnreadableError, read_columns
from packager.errors import ConfigError, ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from manifests.manifest import SignatureSection, TensorSection
    from manifests.section import DType
    from packager.columns import Array, Columns

GENERATED_SAMPLES = 64
_MOST_VALUES = 1 << 26
"""Of all samples of one input: 256 MiB as float32."""
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


def generate_samples(signature: SignatureSection, sizes: Mapping[str, int] = MappingProxyType({})) -> Samples:
    """Samples drawn from fixed seeds: floats from N(0, 1), integers from 0 to 9, booleans.

    An input with a range gets values of it, evenly distributed. `sizes` are those of free dimensions other than the
    first, by name, ``*`` for all others.

    Raises:
        ConversionError: an input is a string, which can't be made up.
    """
    import numpy as np

    random = np.random.Generator(np.random.PCG64(0))
    count = _count(signature, sizes)
    inputs: dict[str, Array] = {}
    for entry in signature.inputs:
        if entry.dtype == "string":
            raise ConversionError(
                "samples.string",
                f"no sample can be made up for input '{entry.name}', which is text",
                hint="give [data] calibration or evaluation",
            )
        inner = _sample_shape(entry, signature, sizes)
        shape = (count, *inner) if entry.shape else (count,)
        dtype = np.dtype(entry.dtype)
        if entry.range is not None and dtype.kind in "fiu":
            inputs[entry.name] = _within(random, entry.range, shape, dtype)
        elif dtype.kind == "f":
            inputs[entry.name] = random.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            inputs[entry.name] = random.integers(0, 2, shape).astype(dtype)
        else:
            inputs[entry.name] = random.integers(0, 10, shape).astype(dtype)
    return Samples(inputs, None, {}, "generated")


def _sample_shape(entry: TensorSection, signature: SignatureSection, sizes: Mapping[str, int]) -> tuple[int, ...]:
    def length(name: str) -> int:
        wanted = sizes.get(name, sizes.get("*", _FREE_DIMENSION))
        return min(wanted, signature.maximum.get(name, wanted))

    return tuple(size if isinstance(size, int) else length(size) for size in entry.shape[1:])


def _count(signature: SignatureSection, sizes: Mapping[str, int]) -> int:
    """How many samples there are: fewer where one is large.

    Raises:
        ConversionError: one alone is too large.
    """
    amounts = {entry.name: math.prod(_sample_shape(entry, signature, sizes)) for entry in signature.inputs}
    name, largest = max(amounts.items(), key=lambda item: item[1], default=("", 0))
    if largest > _MOST_VALUES:
        raise ConversionError(
            "samples.size",
            f"a sample of input '{name}' is too large to be made up: expected at most {_MOST_VALUES} values, "
            f"got {largest}",
            hint="give its shape in [model.inputs], or real samples as [data] evaluation",
        )
    return max(1, min(GENERATED_SAMPLES, _MOST_VALUES // max(1, largest)))


def _within(
    random: np.random.Generator, ends: tuple[float, float], shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> Array:
    """Values from one end to the other, both included."""
    import numpy as np

    if dtype.kind == "f":
        return random.uniform(*ends, shape).astype(dtype)
    limits = np.iinfo(dtype.name)
    low, high = (min(max(end, int(limits.min)), int(limits.max)) for end in (math.ceil(ends[0]), math.floor(ends[1])))
    return random.integers(low, max(low, high), shape, dtype=dtype, endpoint=True)


def with_gaps(samples: Samples) -> Samples:
    """The samples with NaN for every fifth value of a float input, no two samples in the same places."""
    import numpy as np

    inputs = {}
    for name, array in samples.inputs.items():
        if array.dtype.kind == "f":
            flat = array.reshape(len(array), -1).copy()
            rows, columns = np.indices(flat.shape)
            flat[(columns * 3 + rows) % 5 == 0] = np.nan
            array = flat.reshape(array.shape)  # noqa: PLW2901 - the same input, with gaps
        inputs[name] = array
    return Samples(inputs, samples.labels, samples.names, samples.origin)


def _read(file: DataFile) -> tuple[Columns, bool]:
    """The arrays of the file, and whether they are the columns of a table."""
    path = Path(file.path)
    try:
        columns = read_columns(path)
    except UnreadableError as error:
        raise _unfit(file, str(error), hint=error.hint) from error
    return columns, path.suffix.lower() in TABLES


def _labels(file: DataFile, files: DataFiles, columns: Columns) -> Array | None:
    if not files.label:
        return None
    if files.label in columns:
        labels = columns[files.label].reshape(-1)
        if labels.dtype.kind == "U":
            empty = next((index for index, label in enumerate(labels.tolist()) if not label.strip()), None)
            if empty is not None:
                raise _bad_cell(file, files.label, empty, "a label", "")
        return labels
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
        typed = {entry.name: _typed(file, entry.name, columns[entry.name], entry.dtype) for entry in signature.inputs}
        return typed, {entry.name: (entry.name,) for entry in signature.inputs}
    only = signature.inputs[0]
    packed = np.stack([_typed(file, name, column, only.dtype) for name, column in columns.items()], axis=1)
    return {only.name: packed}, {only.name: tuple(columns)}


def _typed(file: DataFile, name: str, column: Array, dtype: DType) -> Array:
    """The column in the dtype of an input; an empty cell of a csv file, or NaN in words, is no number."""
    import numpy as np

    if dtype == "string":
        return column.astype(np.str_)
    kind = np.dtype(dtype)
    try:
        typed = _cast(column, kind)
    except (ValueError, TypeError, OverflowError) as error:
        wrong = next((index for index in range(len(column)) if not _fits(column[index : index + 1], kind)), 0)
        raise _bad_cell(file, name, wrong, dtype, column.tolist()[wrong]) from error
    if kind.kind == "f" and column.dtype.kind == "U":
        for index in np.flatnonzero(np.isnan(typed)).tolist():
            raise _bad_cell(file, name, index, dtype, column.tolist()[index])
    return typed


def _cast(column: Array, kind: np.dtype[np.generic]) -> Array:
    """The column in that dtype; text such as 3.0 is a whole number too.

    Raises:
        ValueError, TypeError, OverflowError: a cell is no such number.
    """
    import numpy as np

    if column.dtype.kind not in "UO" or kind.kind == "f":
        return column.astype(kind)
    numbers = column.astype(np.float64)
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any():
        raise ValueError("not a whole number")
    return numbers.astype(kind)


def _fits(cell: Array, kind: np.dtype[np.generic]) -> bool:
    try:
        _cast(cell, kind)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _bad_cell(file: DataFile, name: str, index: int, expected: str, got: object) -> ConfigError:
    path = Path(file.path)
    text = str(got).strip()
    hint = "say which columns are features in [data] features"
    if text.lower() in {"", "nan", "none"}:
        hint = "fill it, or leave the row out; a model that takes missing features finds NaN in an npz or parquet file"
    header = path.suffix.lower() == ".csv"
    row = f"row {index + 2} (the header is row 1)" if header else f"row {index + 1}"
    shown = f"'{text[:80]}'" if text else "an empty cell"
    return _unfit(file, f"'{path.name}', {row}, column '{name}': expected {expected}, got {shown}", hint=hint)


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
