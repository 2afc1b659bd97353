"""Read a Python object out of a skops, pickle or joblib file, as safely as each of them can be read."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from packager.errors import ConversionError
from packager.importers._files import is_zip
from packager.importers._pickles import first_class, is_pickle, scan_pickle

if TYPE_CHECKING:
    from pathlib import Path

    from packager.importers._importer import Options

_SCHEMA = "schema.json"
_SCHEMA_LIMIT = 64 << 20
_ENTRIES_LIMIT = 100_000
_SIZE_LIMIT = 4 << 30


class Read(NamedTuple):
    """What was read."""

    object: object
    notes: tuple[str, ...]
    """What the user should know of how it was read."""


class _Root(msgspec.Struct):
    """What skops says of the whole."""

    module: str = msgspec.field(name="__module__", default="")


def library_of(path: Path) -> str:
    """The package that the stored object's class is of, such as ``sklearn``; empty: it is no stored object.

    Only the first bytes are looked at, or the schema of a skops file.
    """
    if is_pickle(path):
        return first_class(path).partition(".")[0] or "pickle"
    if not is_zip(path):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            if _SCHEMA not in archive.NameToInfo or archive.NameToInfo[_SCHEMA].file_size > _SCHEMA_LIMIT:
                return ""
            root = msgspec.json.decode(archive.read(_SCHEMA), type=_Root)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, msgspec.MsgspecError):
        return ""
    return root.module.partition(".")[0]


def read_object(path: Path, options: Options, namespaces: frozenset[str]) -> Read:
    """The object in the file at `path`; a skops file may name types of `namespaces` alone.

    Raises:
        ConversionError: it can't be read, or is not safe to read and not trusted.
    """
    return Read(_read_skops(path, namespaces), ()) if is_zip(path) else _read_pickle(path, options)


def _read_skops(path: Path, namespaces: frozenset[str]) -> object:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    failures = (
        UntrustedTypesFoundException, ValueError, TypeError, KeyError, ImportError, AttributeError, IndexError,
        RecursionError, zipfile.BadZipFile, OSError, EOFError, RuntimeError,
    )  # fmt: skip
    _check_archive(path)
    try:
        unknown = cast("list[str]", skops.io.get_untrusted_types(file=path))
    except failures as error:
        raise _unreadable(path, error) from error
    foreign = sorted(name for name in unknown if name.partition(".")[0] not in namespaces)
    if foreign:
        known = ", ".join(sorted(namespaces))
        raise ConversionError(
            "import.untrusted",
            f"'{path.name}' names types outside of {known}: {', '.join(foreign)}",
            hint="store the model with those libraries' estimators alone, or as ONNX",
        )
    try:
        return skops.io.load(path, trusted=unknown)
    except failures as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConversionError:
    return ConversionError("import.skops", f"'{path.name}' can't be read by skops: {error}")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [entry.file_size for entry in archive.infolist()]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    if len(sizes) > _ENTRIES_LIMIT or sum(sizes) > _SIZE_LIMIT:
        raise ConversionError(
            "import.size",
            f"model is too large: expected at most {_ENTRIES_LIMIT} files and {_SIZE_LIMIT} bytes, "
            f"got {len(sizes)} and {sum(sizes)}",
        )


def _read_pickle(path: Path, options: Options) -> Read:
    scan = scan_pickle(path)
    if not options.trusted:
        raise ConversionError(
            "import.pickle",
            f"'{path.name}' is a pickle, which runs code when it is read: {scan.words()}",
            hint="store it with skops.io.dump; or, where you know who made it, set trusted = true in [model]",
        )
    import joblib

    failures = (
        pickle.UnpicklingError, EOFError, ImportError, AttributeError, IndexError, KeyError, ValueError, TypeError,
        OSError, RuntimeError,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = joblib.load(path)
        except failures as error:
            raise ConversionError(
                "import.pickle",
                f"'{path.name}' can't be read: {type(error).__name__}: {error}",
                hint="read it where it was made, with the same versions, and store it with skops.io.dump",
            ) from error
    told = dict.fromkeys(
        str(entry.message).partition(". ")[0] for entry in warned if entry.category.__name__.endswith("VersionWarning")
    )
    return Read(found, (f"'{path.name}' was read as a trusted pickle: {scan.words()}", *told))
