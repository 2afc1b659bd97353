"""``pack.toml`` as frozen structs, and the environment variables that the packager reads.

Unknown fields are refused; an error names the field by its path. Paths are relative to the folder of ``pack.toml``.
"""

from __future__ import annotations

import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar, cast

import msgspec

from manifests.digests import Digest
from manifests.manifest import Name
from packager.errors import ConfigError
from packager.quantities import Limit, parse_limit
from packager.registry import Registration, find_target, open_target, registrations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packager.quantities import Unit
    from targets._target import Target

FILE_NAME = "pack.toml"
STORE = Path(".pack", "store")
"""Where a project's bundles go, below its folder."""
DEFAULT_VERSION = "0"
"""The version of a model whose source has none and for which ``pack.toml`` gives none."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_DATABASE = "sqlite:///mlflow.db"
_JOB_SECONDS = 1800.0
_UNITS: dict[str, Unit] = {
    "parity": "ratio",
    "accuracy_drop": "ratio",
    "size": "bytes",
    "latency_p50": "ms",
    "latency_p95": "ms",
}
_Option: TypeAlias = Annotated[object, msgspec.Meta(extra_json_schema={"description": "an option of the target"})]
_Written: TypeAlias = str | float | int | None


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table of ``pack.toml`` has in common: frozen, and strict about its fields."""


class TaskTable(Table, frozen=True, kw_only=True):
    """``[model.task]``: what the model does, where its importer can't tell."""

    kind: Literal["classification", "regression"]
    output: str = ""
    """Default: the model's first output."""
    labels: tuple[str, ...] = ()
    """The class names in the order of the scores. Default: ``0``, ``1``, ..."""


class ModelTable(Table, frozen=True, kw_only=True):
    """``[model]``: which model."""

    name: Name
    version: str = ""
    """Default: the registry's, or ``0`` for a path."""
    source: str
    """``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or a path."""
    digest: Digest | None = None
    """What the source's digest must be."""
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


class GatesTable(Table, frozen=True, kw_only=True):
    """``[gates]``, and ``gates`` of a target: upper limits."""

    parity: str | float | None = None
    """Largest difference to the source model, relative to its largest output. Default: the target's."""
    accuracy_drop: str | float | None = None
    size: str | int | None = None
    latency_p50: str | None = None
    latency_p95: str | None = None
    waivers: dict[Literal["accuracy", "size", "latency_p50", "latency_p95"], str] = {}
    """Gate to the reason why its failure is let pass. Parity can't be waived: raise its limit instead."""


class SigningTable(Table, frozen=True, kw_only=True):
    """``[signing]``."""

    key: str = ""
    """Private key file. Default: ``PACK_SIGNING_KEY``, else ``~/.config/packtrain/keys/pack.key``."""


class _Document(Table, frozen=True, kw_only=True):
    model: ModelTable
    data: DataTable = DataTable()
    gates: GatesTable = GatesTable()
    targets: dict[str, dict[str, _Option]]
    signing: SigningTable = SigningTable()


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one target: ``[gates]`` overridden by the target's own; None: not asked for."""

    parity: Limit | None = None
    accuracy_drop: Limit | None = None
    size: Limit | None = None
    latency_p50: Limit | None = None
    latency_p95: Limit | None = None
    waivers: dict[str, str] = {}


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One ``[targets.NAME]``."""

    name: str
    registration: Registration
    options: msgspec.Struct
    """The target's own `Options`."""
    gates: Gates

    @property
    def target(self) -> Target:
        """The target itself."""
        return open_target(self.registration)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a build is told."""

    folder: Path
    model: ModelTable
    data: DataTable
    targets: dict[str, TargetSettings]
    signing_key: Path
    """Where the private key stands, or would."""
    tracking_uri: str
    registry_uri: str
    cache: Path
    job_seconds: float
    """The time limit of one worker."""
    store: Path
    """The OCI image layout that bundles go to."""

    def path(self, written: str) -> Path:
        """A path as ``pack.toml`` writes it."""
        return self.folder / Path(written).expanduser()


def load_project(folder: Path) -> Project:
    """The project whose ``pack.toml`` stands in `folder`.

    Raises:
        ConfigError: it is missing, not TOML, or a field is wrong; the message names the field's path.
    """
    path = folder / FILE_NAME
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "config.missing", f"'{path}' can't be read: {error.strerror}", hint="pack init writes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config.toml", f"'{path}' is not TOML: {error}") from error
    return _project(folder, convert_table(document, _Document, ""))


def project_for_model(path: Path, targets: Sequence[str], *, folder: Path | None = None) -> Project:
    """A project without ``pack.toml``, for a first look at a model: no data, default options, default limits.

    The model goes by the file's name. `folder`, by default the current one, gets the store.

    Raises:
        ConfigError: there is no such model or target, or no target is named.
    """
    if not path.exists():
        raise ConfigError("config.model", f"no model at '{path}'")
    if not targets:
        raise ConfigError("config.targets", "no target is named", hint="pack --model PATH --target cloud")
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:64] or "model"
    document = _Document(
        model=ModelTable(name=name, source=str(path.resolve())), targets={target: {} for target in targets}
    )
    return _project(folder or Path.cwd(), document)


def project_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of ``pack.toml``, with the options of every target that is registered here."""
    targets = {name: open_target(entry).Options for name, entry in registrations().items()}
    (document, gates, *options), components = msgspec.json.schema_components(
        (_Document, GatesTable, *targets.values()), ref_template="#/$defs/{name}"
    )
    properties: dict[str, object] = {}
    for name, reference in zip(targets, options, strict=True):
        table = _resolved(reference, components)
        fields = cast("dict[str, object]", table.get("properties", {})) | {"gates": gates}
        properties[name] = {"type": "object", "properties": fields, "additionalProperties": False}
    root = dict(_resolved(document, components))
    root["properties"] = cast("dict[str, object]", root["properties"]) | {
        "targets": {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
    }
    used = {name: body for name, body in components.items() if f"#/$defs/{name}" not in str([document, *options])}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": FILE_NAME,
        "$defs": used,
    }


def convert_table(table: Mapping[str, object], kind: type[_Struct], path: str) -> _Struct:
    """The table as a struct; `path` is where it stands, such as ``targets.cloud``.

    Raises:
        ConfigError: a field is unknown, missing or wrong; the message names its path.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), kind, path) from error


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says of how to print."""

    no_color: bool
    """https://no-color.org"""
    term: str
    ci: bool
    debug: bool
    """``PACK_DEBUG``: show the traceback of a bug."""


def read_environment() -> Environment:
    """How to print."""
    return Environment(
        no_color=bool(os.environ.get("NO_COLOR")),
        term=os.environ.get("TERM", ""),
        ci=bool(os.environ.get("CI")),
        debug=bool(os.environ.get("PACK_DEBUG")),
    )


def worker_environment() -> dict[str, str]:
    """The environment of worker processes: ours without the signing key's place."""
    hidden = {"PACK_SIGNING_KEY", "PACK_SIGNING_PASSPHRASE"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def signing_passphrase() -> str | None:
    """The passphrase of the private key: ``PACK_SIGNING_PASSPHRASE``; None where it is not set."""
    return os.environ.get("PACK_SIGNING_PASSPHRASE")


def default_key() -> Path:
    """Where the private key stands when nothing says otherwise."""
    written = os.environ.get("PACK_SIGNING_KEY")
    if written:
        return Path(written).expanduser()
    home = os.environ.get("XDG_CONFIG_HOME")
    config = Path(home) if home else Path.home() / ".config"
    return config / "packtrain" / "keys" / "pack.key"


def cache_folder() -> Path:
    """Where the cache stands: ``PACK_CACHE``, else ``packtrain`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    written = os.environ.get("PACK_CACHE")
    if written:
        return Path(written).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "packtrain"


def _project(folder: Path, document: _Document) -> Project:
    folder = folder.resolve()
    if not document.targets:
        raise ConfigError("config.field", "'targets' is empty", hint="add a table such as [targets.cloud]")
    if document.model.version and not re.fullmatch(_NAME, document.model.version):
        raise ConfigError(
            "config.field",
            "'model.version' is not a name: expected lower-case letters, digits and '._-', "
            f"got '{document.model.version}'",
        )
    tracking = _located(folder, document.model.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _DATABASE)
    key = document.signing.key
    return Project(
        folder=folder,
        model=document.model,
        data=document.data,
        targets={name: _target(name, table, document.gates) for name, table in document.targets.items()},
        signing_key=folder / Path(key).expanduser() if key else default_key(),
        tracking_uri=tracking,
        registry_uri=_located(folder, os.environ.get("MLFLOW_REGISTRY_URI") or tracking),
        cache=cache_folder(),
        job_seconds=_job_seconds(),
        store=folder / STORE,
    )


def _job_seconds() -> float:
    written = os.environ.get("PACK_JOB_SECONDS")
    if written is None:
        return _JOB_SECONDS
    try:
        return float(written)
    except ValueError as error:
        raise ConfigError("config.environment", f"PACK_JOB_SECONDS is not a number: got '{written}'") from error


def _target(name: str, table: dict[str, object], shared: GatesTable) -> TargetSettings:
    registration, target = find_target(name)
    path = f"targets.{name}"
    options = {field: value for field, value in table.items() if field != "gates"}
    own = table.get("gates", {})
    return TargetSettings(
        name=name,
        registration=registration,
        options=convert_table(options, target.Options, path),
        gates=_gates(shared, convert_table(cast("dict[str, object]", own), GatesTable, f"{path}.gates"), path),
    )


def _gates(shared: GatesTable, own: GatesTable, path: str) -> Gates:
    limits = {}
    for field, unit in _UNITS.items():
        where, written = f"{path}.gates.{field}", getattr(own, field)
        if written is None:
            where, written = f"gates.{field}", getattr(shared, field)
        limits[field] = _limit(where, written, unit)
    waivers: dict[str, str] = dict([*shared.waivers.items(), *own.waivers.items()])
    for name, reason in waivers.items():
        if not reason.strip():
            raise ConfigError("config.field", f"'gates.waivers.{name}' is empty", hint="write why it may be let pass")
    return Gates(waivers=waivers, **limits)


def _limit(path: str, written: _Written, unit: Unit) -> Limit | None:
    if written is None:
        return None
    try:
        return parse_limit(written, unit)
    except ValueError as error:
        raise ConfigError("config.field", f"'{path}': {error}") from error


def _located(folder: Path, uri: str) -> str:
    """The URI with a relative SQLite file taken from the project's folder, wherever `pack` is started."""
    scheme, separator, place = uri.partition(":///")
    if scheme != "sqlite" or not separator or place.startswith("/"):
        return uri
    return f"sqlite:///{folder / place}"


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
    return ConfigError("config.field", f"'{at}' is not valid: {what[:1].lower()}{what[1:]}")


def _fields_at(kind: type[msgspec.Struct], place: str) -> list[str]:
    """The fields of the struct that stands at that path below `kind`."""
    info = msgspec.inspect.type_info(kind)
    for part in filter(None, place.split(".")):
        inner = next((field.type for field in _struct_fields(info) if field.encode_name == part), info)
        choices = inner.types if isinstance(inner, msgspec.inspect.UnionType) else (inner,)
        info = next((choice for choice in choices if isinstance(choice, msgspec.inspect.StructType)), info)
    return [field.encode_name for field in _struct_fields(info)]


def _struct_fields(info: msgspec.inspect.Type) -> tuple[msgspec.inspect.Field, ...]:
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()


def _resolved(reference: object, components: Mapping[str, object]) -> dict[str, object]:
    name = cast("dict[str, str]", reference)["$ref"].rpartition("/")[2]
    return cast("dict[str, object]", components[name])
