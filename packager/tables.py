"""The tables of ``pack.toml`` as frozen structs that refuse unknown fields; an error names the field by its path."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

import msgspec

from manifests.digests import Digest
from manifests.pipeline import Layout
from manifests.section import DType, Name
from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
_Dimension: TypeAlias = _Positive | Annotated[str, msgspec.Meta(min_length=1)]
_Element: TypeAlias = Annotated[object, msgspec.Meta(extra_json_schema={"description": "a number, or a list"})]
_Value: TypeAlias = bool | int | float | str | tuple[_Element, ...]
_Numbers: TypeAlias = float | str | tuple[float | str, ...]
"""One number for all channels, or one a channel; text is a fraction."""
_Option: TypeAlias = Annotated[object, msgspec.Meta(extra_json_schema={"description": "an option of the target"})]


_HINTS = {
    "Expected `str` matching regex '^sha256": "sha256: and 64 hexadecimal digits in lower case",
    "Expected `str` matching regex '^[a-z0-9]": "lower-case letters, digits and '._-', at most 64",
}
"""What the pattern of a digest, or of a name, says in words."""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table of ``pack.toml`` has in common: frozen, and strict about its fields."""


class TaskTable(Table, frozen=True, kw_only=True):
    """``[model.task]``: what the model does, where its importer can't tell."""

    kind: Literal["classification", "regression"]
    output: str = ""
    """Default: the only output; of several, a regressor's first, or the one that holds a classifier's scores."""
    labels: tuple[str, ...] = ()
    """The class names in the order of the scores. Default: ``0``, ``1``, ..."""


class InputTable(Table, frozen=True, kw_only=True):
    """``[model.inputs.NAME]``: what is known of one input beside its name, or decided of it."""

    shape: tuple[_Dimension, ...] | None = None
    """A number fixes a dimension that the model leaves free, a name keeps it free."""
    dtype: DType | None = None
    """Checked against the model."""
    range: tuple[float, float] | None = None
    """The values that make sense; generated inputs are drawn from it, both ends included."""
    value: _Value | None = None
    """The input becomes this constant, and leaves the signature. A number fills a tensor."""
    layout: Layout = ""
    """One letter an axis, such as ``nchw``."""
    maximum: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}
    """The largest value of a free dimension, by its name."""


class ResizeTable(Table, frozen=True, kw_only=True):
    """``resize`` of an input's pipeline."""

    size: tuple[_Positive, _Positive]
    """Height and width."""
    mode: Literal["nearest", "linear", "cubic", "area"] = "linear"
    fit: Literal["stretch", "cover", "contain"] = "stretch"
    crop: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    anchor: Literal["centre", "start"] = "centre"
    pad: _Numbers = ()


class TokeniserTable(Table, frozen=True, kw_only=True):
    """``tokeniser`` of an input's pipeline."""

    file: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Literal["huggingface", "sentencepiece", "wordpiece", "characters", "other"] = "other"
    maximum: _Positive | None = None
    padding: int | None = None


class InputPipelineTable(Table, frozen=True, kw_only=True):
    """``[model.pipeline.inputs.NAME]``: how the input is made of what the application holds, in this order."""

    kind: Literal["tensor", "image", "audio", "text"] = "tensor"
    tokeniser: TokeniserTable | None = None
    sample_rate: _Positive | None = None
    colour: Literal["", "rgb", "bgr", "gray"] = ""
    colour_space: Literal["", "srgb", "linear"] = ""
    resize: ResizeTable | None = None
    dtype: DType | None = None
    """Of the raw values. Default: the model's."""
    layout: Layout = ""
    """Of the raw values. Default: the model's."""
    scale: _Numbers = ()
    """A number or a fraction such as ``"1/255"``, or one for each channel."""
    mean: _Numbers = ()
    std: _Numbers = ()


class OutputPipelineTable(Table, frozen=True, kw_only=True):
    """``[model.pipeline.outputs.NAME]``: what becomes of the output, in this order."""

    activation: Literal["", "softmax", "sigmoid"] = ""
    axis: int = -1
    select: Literal["", "argmax", "top", "threshold"] = ""
    top: _Positive | None = None
    threshold: float | None = None
    labels: str | tuple[str, ...] = ()
    """The names of the classes, or a file with them: one a line, or a JSON list."""


class PipelineTable(Table, frozen=True, kw_only=True):
    """``[model.pipeline]``: what the application does around the model."""

    fuse: bool = False
    """Whether scale, mean, std, layout and the cast from the raw dtype become part of the shipped model."""
    inputs: dict[str, InputPipelineTable] = {}
    outputs: dict[str, OutputPipelineTable] = {}


class ModelTable(Table, frozen=True, kw_only=True):
    """``[model]``: which model."""

    name: Name
    version: str = ""
    """Default: the registry's, or ``0`` for a path."""
    source: Annotated[str, msgspec.Meta(min_length=1)]
    """A path, or a model in a registry: ``models:/``, ``runs:/``, ``oci://``, ``s3://``, ``gs://``, ``az://``,
    ``https://`` or ``hf:``. Never a password or a signed URL: credentials come from the environment."""
    digest: Digest | None = None
    """What the source's digest must be."""
    size_limit: str | int = "10 GB"
    """The most bytes that are fetched from a registry."""
    framework: str = ""
    """Default: found out from the content."""
    trusted: bool = False
    """Whether a model that runs code when it is read (pickle, Lambda layer, TorchScript) may be read."""
    signature: str = ""
    """Which of a SavedModel's signatures. Default: ``serving_default``, or the only one."""
    counter: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """The release counter. Default: the version where that is an integer, else 0."""
    tracking_uri: str = ""
    """MLflow's. Default: ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in this folder."""
    licence: str = ""
    task: TaskTable | None = None
    inputs: dict[str, InputTable] = {}
    """What is known of single inputs beside what the model says."""
    pipeline: PipelineTable = PipelineTable()


class DataTable(Table, frozen=True, kw_only=True):
    """``[data]``: files (npz, npy, csv, parquet) with real samples."""

    calibration: str = ""
    evaluation: str = ""
    training: str = ""
    """What the baseline describes. Default: the calibration data."""
    label: str = ""
    """The column or array that holds the label."""
    features: tuple[str, ...] = ()
    """The columns or arrays that go into the model, in order. Default: all but the label."""


class WaiversTable(Table, frozen=True, kw_only=True):
    """``gates.waivers``: gate to reason. Parity can't be waived: raise its limit instead."""

    accuracy: str | None = None
    size: str | None = None
    latency_p50: str | None = None
    latency_p95: str | None = None


class GatesTable(Table, frozen=True, kw_only=True):
    """``[gates]``, and ``gates`` of a target: upper limits."""

    parity: str | float | None = None
    """Largest difference to the source model, relative to its largest output. Default: the target's."""
    accuracy_drop: str | float | None = None
    size: str | int | None = None
    latency_p50: str | None = None
    latency_p95: str | None = None
    waivers: WaiversTable = WaiversTable()
    """The reasons why a gate's failure is let pass."""


class SigningTable(Table, frozen=True, kw_only=True):
    """``[signing]``."""

    key: str = ""
    """Private key file. Default: ``PACK_SIGNING_KEY``, else ``~/.config/packtrain/keys/pack.key``."""


class Document(Table, frozen=True, kw_only=True):
    """The whole of ``pack.toml``."""

    model: ModelTable
    data: DataTable = DataTable()
    gates: GatesTable = GatesTable()
    targets: dict[str, dict[str, _Option]]
    signing: SigningTable = SigningTable()


def read_inputs(written: Sequence[str]) -> dict[str, InputTable]:
    """``[model.inputs]`` from ``NAME.FIELD=VALUE``, as the command line has it; VALUE is one of TOML.

    Raises:
        ConfigError: one is written in another way, or no such field.
    """
    tables: dict[str, dict[str, object]] = {}
    for entry in written:
        place, equals, value = entry.partition("=")
        name, dot, field = place.strip().rpartition(".")
        if not equals or not dot or not name:
            raise ConfigError(
                "usage",
                f"--input '{entry}' can't be read: expected NAME.FIELD=VALUE",
                hint="such as --input sr.value=16000, or --input 'x.shape=[1, 3, 320, 320]'",
            )
        try:
            tables.setdefault(name, {})[field] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                "usage", f"--input '{entry}' can't be read: '{value}' is no value of TOML: {error}"
            ) from error
    return {name: convert_table(table, InputTable, f"model.inputs.{name}") for name, table in tables.items()}


def convert_table(table: Mapping[str, object], kind: type[_Struct], path: str) -> _Struct:
    """The table as a struct; `path` is where it stands, such as ``targets.cloud``.

    Raises:
        ConfigError: a field is unknown, missing or wrong; the message names its path.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _field_error(_with_keys(str(error), table, kind), kind, path) from error


def _with_keys(message: str, table: Mapping[str, object], kind: type[msgspec.Struct]) -> str:
    """The error with the name of the table that is meant, where msgspec says ``inputs[...]``."""
    place = message.partition("at `$")[2]
    while "[...]" in place:
        before = place.partition("[...]")[0].removeprefix(".")
        inner: object = table
        for part in before.split("."):
            inner = inner.get(part, {}) if isinstance(inner, dict) else {}
        struct = _struct_at(kind, f"{before}.*")
        named = inner if isinstance(inner, dict) and isinstance(struct, msgspec.inspect.StructType) else {}
        wrong = next((key for key, value in named.items() if not _converts(value, struct)), None)
        if wrong is None:
            break
        message = message.replace(f"{before}[...]", f"{before}.{wrong}", 1)
        place = message.partition("at `$")[2]
    return message


def _converts(value: object, kind: msgspec.inspect.Type) -> bool:
    try:
        msgspec.convert(value, kind.cls if isinstance(kind, msgspec.inspect.StructType) else object)
    except msgspec.ValidationError:
        return False
    return True


def _field_error(message: str, kind: type[msgspec.Struct], path: str) -> ConfigError:
    """The error of msgspec with the path as ``pack.toml`` has it, and the field that was perhaps meant."""
    what, _, place = message.partition(" - at `$")
    place = place.removesuffix("`").removeprefix(".")
    at = ".".join(part for part in (path, place) if part)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        fields = _fields_at(kind, place)
        close = get_close_matches(unknown[1], fields, n=1)
        field = f"{at}.{unknown[1]}" if at else unknown[1]
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(fields) or 'nothing'}"
        return ConfigError("config.field", f"unknown field '{field}'", hint=hint)
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        field = f"{at}.{missing[1]}" if at else missing[1]
        return ConfigError("config.field", f"'{field}' is missing")
    hint = next((text for start, text in _HINTS.items() if what.startswith(start)), "")
    values = _values_at(kind, place) if what.startswith("Invalid enum value") else ()
    if values:
        hint = f"expected one of {', '.join(values)}"
    return ConfigError("config.field", f"'{at}' is not valid: {what[:1].lower()}{what[1:]}", hint=hint)


def _values_at(kind: type[msgspec.Struct], place: str) -> tuple[str, ...]:
    """What the field at that path below `kind` may be, where that is a list."""
    above, _, name = place.rpartition(".")
    found = next((field.type for field in _struct_fields(_struct_at(kind, above)) if field.encode_name == name), None)
    choices = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    for choice in choices:
        if isinstance(choice, msgspec.inspect.LiteralType):
            return tuple(str(value) for value in choice.values if value != "")
        if isinstance(choice, msgspec.inspect.EnumType):
            return tuple(str(member.value) for member in choice.cls)
    return ()


def _fields_at(kind: type[msgspec.Struct], place: str) -> list[str]:
    """The fields of the struct that stands at that path below `kind`."""
    return [field.encode_name for field in _struct_fields(_struct_at(kind, place))]


def _struct_at(kind: type[msgspec.Struct], place: str) -> msgspec.inspect.Type:
    info = msgspec.inspect.type_info(kind)
    for part in filter(None, place.split(".")):
        if isinstance(info, msgspec.inspect.DictType):
            info = info.value_type
            continue
        inner = next((field.type for field in _struct_fields(info) if field.encode_name == part), info)
        choices = inner.types if isinstance(inner, msgspec.inspect.UnionType) else (inner,)
        tables = (msgspec.inspect.StructType, msgspec.inspect.DictType)
        info = next((choice for choice in choices if isinstance(choice, tables)), info)
    return info


def _struct_fields(info: msgspec.inspect.Type) -> tuple[msgspec.inspect.Field, ...]:
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()
