"""A generated client on disk: nothing is overwritten or removed but what was generated before and left as it was."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from manifests.digests import digest_bytes, digest_file
from manifests.durable import write_durably
from packager.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from packager.clients.generation import Generated

RECORD = ".packtrain-client.json"
_SHOWN = 5
"""Files that an error names."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was written into a folder, so that it is known again."""

    bundle: str
    digest: str
    language: str
    files: dict[str, str]
    """Path to digest."""


def write_client(made: Generated, folder: Path, *, force: bool) -> tuple[str, ...]:
    """Write the client below `folder`; the paths written are returned, sorted.

    What an earlier client of this folder had and this one has not is removed, where nobody changed it.

    Raises:
        ConfigError: a file stands there that was not generated, or was changed since, and `force` is not given.
    """
    known = _read_record(folder)
    paths = sorted({*made.texts, *made.copies})
    foreign = [path for path in paths if not _is_own(folder / path, known.get(path))]
    outside = [path for path in paths if not (folder / path).resolve().is_relative_to(folder.resolve())]
    if outside:
        raise ConfigError("client.path", f"'{outside[0]}' leads out of '{folder}' by a link")
    if foreign and not force:
        rest = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise ConfigError(
            "client.exists",
            f"'{folder}' has files that were not generated, or changed since: {', '.join(foreign[:_SHOWN])}{rest}",
            hint="another folder by --output, or --force to overwrite them",
        )
    for path, digest in known.items():
        if path not in paths and (folder / path).is_file() and _is_own(folder / path, digest):
            (folder / path).unlink()
    digests = {}
    for path in paths:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path in made.texts:
            write_durably(place, made.texts[path])
            digests[path] = digest_bytes(made.texts[path])
        else:
            place.unlink(missing_ok=True)
            shutil.copyfile(made.copies[path], place)
            digests[path] = digest_file(place)
    record = Record(bundle=made.reference, digest=made.digest, language=made.language.value, files=digests)
    write_durably(folder / RECORD, msgspec.json.format(msgspec.json.encode(record, order="deterministic")) + b"\n")
    return tuple(paths)


def _read_record(folder: Path) -> dict[str, str]:
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return {}
    return {path: digest for path, digest in record.files.items() if _stays_below(path)}


def _stays_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _is_own(place: Path, digest: str | None) -> bool:
    """Whether a file may be replaced: there is none, or it is as it was written."""
    if not place.exists() and not place.is_symlink():
        return True
    return digest is not None and place.is_file() and not place.is_symlink() and digest_file(place) == digest
