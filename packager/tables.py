"""The tables of ``pack.toml`` as frozen structs that refuse unknown fields; an error names the field by its path."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

import msgspec

from manifests.digests import Digest
from manifests.section import Name
from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
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
    framework: Literal["", "onnx", "sklearn"] = ""
    """Default: found out from the content."""
    trusted: bool = False
    """Whether a file that runs code when it is read (pickle, joblib) may be read."""
    counter: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """The release counter. Default: the version where that is an integer, else 0."""
    tracking_uri: str = ""
    """MLflow's. Default: ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in this folder."""
    licence: str = ""
    task: TaskTable | None = None


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


def convert_table(table: Mapping[str, object], kind: type[_Struct], path: str) -> _Struct:
    """The table as a struct; `path` is where it stands, such as ``targets.cloud``.

    Raises:
        ConfigError: a field is unknown, missing or wrong; the message names its path.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), kind, path) from error


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
        inner = next((field.type for field in _struct_fields(info) if field.encode_name == part), info)
        choices = inner.types if isinstance(inner, msgspec.inspect.UnionType) else (inner,)
        info = next((choice for choice in choices if isinstance(choice, msgspec.inspect.StructType)), info)
    return info


def _struct_fields(info: msgspec.inspect.Type) -> tuple[msgspec.inspect.Field, ...]:
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()
