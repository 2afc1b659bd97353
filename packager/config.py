"""The project that ``pack.toml`` describes, and the environment variables that the packager reads.

Paths are relative to the folder of ``pack.toml``.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import msgspec

from packager.errors import ConfigError
from packager.importers.detection import frameworks
from packager.limits import Gates, combine_gates, read_limit
from packager.quantities import parse_limit
from packager.registry import Registration, find_target, open_target
from packager.tables import DataTable, Document, GatesTable, ModelTable, convert_table, read_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packager.quantities import Limit
    from targets._target import Target

FILE_NAME = "pack.toml"
STORE = Path(".pack", "store")
"""Where a project's bundles go, below its folder."""
DEFAULT_VERSION = "0"
"""The version of a model whose source has none and for which ``pack.toml`` gives none."""

_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_DATABASE = "sqlite:///mlflow.db"
_JOB_SECONDS = 1800.0
_CACHE_BYTES = 20_000_000_000
_SHORTEST_SECRET = 6
"""A shorter value can't be told from words that mean no harm."""
_CREDENTIAL = re.compile(
    r"(?i)(?:^|_)(?:token|secret|password|passwd|passphrase|credentials?|key|pat|sas|auth)(?:_|$)|connection_string"
)
"""Names of environment variables that hold secrets."""
_WORKER_DEFAULTS = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,  # else it writes its settings into the user's home
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its own seven take minutes
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # with it, sums depend on the machine
}
_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "true"}


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
    size_limit: int
    """The most bytes that a registry's model may have."""
    cache: Path
    cache_size: int
    """How many bytes may stay in the cache after a build."""
    job_seconds: float
    """The time limit of one worker."""
    job_memory: int
    """The bytes that one worker may allocate."""
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
            "config.missing", f"'{path}' can't be read: {str(error.strerror).lower()}", hint="pack init writes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config.toml", f"'{path}' is not TOML: {error}") from error
    return _project(folder, convert_table(document, Document, ""))


def project_for_model(
    path: Path, targets: Sequence[str], *, inputs: Sequence[str] = (), folder: Path | None = None
) -> Project:
    """A project without ``pack.toml``, for a first look at a model: no data, default options, default limits.

    The model goes by the file's name. `inputs` are fields of ``[model.inputs]`` as the command line has them, such as
    ``sr.value=16000``. `folder`, by default the current one, gets the store.

    Raises:
        ConfigError: there is no such model or target, or no target is named.
    """
    if not path.exists():
        raise ConfigError("config.model", f"no model at '{path}'")
    if not targets:
        raise ConfigError("config.targets", "no target is named", hint="pack --model PATH --target cloud")
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:64] or "model"
    model = ModelTable(name=name, source=str(path.resolve()), inputs=read_inputs(inputs))
    document = Document(model=model, targets={target: {} for target in targets})
    return _project(folder or Path.cwd(), document)


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


def worker_environment(*, credentials: bool = False) -> dict[str, str]:
    """The environment of worker processes: ours without the signing key's place, and without telemetry.

    Only a worker that fetches gets the `credentials` of registries; a model that runs code finds none.
    """
    hidden = {"PACK_SIGNING_KEY", "PACK_SIGNING_PASSPHRASE"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and (credentials or not _CREDENTIAL.search(name))
    }
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        if name in kept:
            kept[name], user, password = _without_user(kept[name])
            if credentials and user:
                kept.setdefault("MLFLOW_TRACKING_USERNAME", user)
                kept.setdefault("MLFLOW_TRACKING_PASSWORD", password)
    return _WORKER_DEFAULTS | kept | _NO_TELEMETRY


def secret_values() -> tuple[str, ...]:
    """The values of environment variables whose names say that they are secret."""
    values = [value for name, value in os.environ.items() if _CREDENTIAL.search(name)]
    values += [_without_user(os.environ.get(name, ""))[2] for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")]
    return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)


def docker_configuration() -> tuple[str, tuple[Path, ...]]:
    """Where registries' credentials are, as Docker and Podman have it.

    A JSON document (``DOCKER_AUTH_CONFIG``), and files that need not be there, the first one first.
    """
    folder = os.environ.get("DOCKER_CONFIG")
    paths = [(Path(folder).expanduser() if folder else Path.home() / ".docker") / "config.json"]
    authfile, runtime = os.environ.get("REGISTRY_AUTH_FILE"), os.environ.get("XDG_RUNTIME_DIR")
    if authfile:
        paths.insert(0, Path(authfile).expanduser())
    if runtime:
        paths.append(Path(runtime) / "containers" / "auth.json")
    return os.environ.get("DOCKER_AUTH_CONFIG", ""), tuple(paths)


def netrc_file() -> Path:
    """Where curl's and Python's ``.netrc`` is: ``NETRC``, else in the home folder."""
    written = os.environ.get("NETRC")
    return Path(written).expanduser() if written else Path.home() / ".netrc"


def named_variable(name: str) -> str | None:
    """The environment variable that the command line names; None where it is not set."""
    return os.environ.get(name)


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


def toolchains_folder() -> Path:
    """Where toolchains' environments stand: ``PACK_TOOLCHAINS``, else in ``XDG_DATA_HOME`` or ``~/.local/share``."""
    written = os.environ.get("PACK_TOOLCHAINS")
    if written:
        return Path(written).expanduser()
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "packtrain" / "toolchains"


def _project(folder: Path, document: Document) -> Project:
    folder = folder.resolve()
    if not document.targets:
        raise ConfigError("config.field", "'targets' is empty", hint="add a table such as [targets.cloud]")
    if document.model.version and not re.fullmatch(_NAME, document.model.version):
        raise ConfigError(
            "config.field",
            "'model.version' is not a name: expected lower-case letters, digits and '._-', "
            f"got '{document.model.version}'",
        )
    known = frameworks()
    if document.model.framework and document.model.framework not in known:
        raise ConfigError(
            "config.field",
            f"'model.framework': expected one of {', '.join(known)}, got '{document.model.framework}'",
        )
    if _without_user(document.model.tracking_uri)[1]:
        raise ConfigError(
            "config.secret",
            "'model.tracking_uri' holds a user or a password",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
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
        size_limit=int(cast("Limit", read_limit("model.size_limit", document.model.size_limit, "bytes")).value),
        cache=cache_folder(),
        cache_size=_bytes_variable("PACK_CACHE_SIZE", _CACHE_BYTES),
        job_seconds=_job_seconds(),
        job_memory=_bytes_variable("PACK_JOB_MEMORY", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
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


def _bytes_variable(name: str, default: int) -> int:
    written = os.environ.get(name)
    if written is None:
        return default
    try:
        return int(parse_limit(written, "bytes").value)
    except ValueError as error:
        raise ConfigError("config.environment", f"{name}: {error}") from error


def _target(name: str, table: dict[str, object], shared: GatesTable) -> TargetSettings:
    registration, target = find_target(name)
    path = f"targets.{name}"
    options = {field: value for field, value in table.items() if field != "gates"}
    own = table.get("gates", {})
    return TargetSettings(
        name=name,
        registration=registration,
        options=convert_table(options, target.Options, path),
        gates=combine_gates(shared, convert_table(cast("dict[str, object]", own), GatesTable, f"{path}.gates"), path),
    )


def _located(folder: Path, uri: str) -> str:
    """The URI without a password; a relative SQLite file is one of the project's folder, wherever `pack` is started."""
    uri = _without_user(uri)[0]
    scheme, separator, place = uri.partition(":///")
    if scheme != "sqlite" or not separator or place.startswith("/"):
        return uri
    return f"sqlite:///{folder / place}"


def _without_user(uri: str) -> tuple[str, str, str]:
    """A URI without user and password, and these."""
    parts = urlsplit(uri)
    user, at, place = parts.netloc.rpartition("@")
    if not at or parts.scheme not in {"http", "https"}:
        return uri, "", ""
    name, _, password = user.partition(":")
    return parts._replace(netloc=place).geturl(), unquote(name), unquote(password)
