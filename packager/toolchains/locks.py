"""The locked lists that packtrain ships: what each toolchain asks for, and the pins of everything that this brings."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import msgspec

from manifests.digests import digest_bytes
from packager.errors import ConfigError

FOLDER = Path(__file__).parent
_WANTED, _PINS = ".in", ".txt"


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """One toolchain's two lists, in pip's format; in the first one's head stands what people should know."""

    name: str
    wanted: Path
    """What is asked for."""
    pins: Path
    """The version of each distribution that this may bring, on any platform: pip takes it as constraints."""
    summary: str = ""
    cpu: str = ""
    """A distribution whose usual build brings libraries for GPUs, and an index that has one without, with a space
    between them; empty: there is none."""
    digest: str
    """Of the requirements of both lists, comments apart."""


def lock_names(folder: Path = FOLDER) -> list[str]:
    """The names of all toolchains, sorted."""
    return sorted(path.stem for path in folder.glob(f"*{_WANTED}"))


def open_lock(name: str, folder: Path = FOLDER) -> Lock:
    """The lock of that name.

    Raises:
        ConfigError: there is none.
    """
    known = lock_names(folder)
    if name not in known:
        close = get_close_matches(name, known, n=1)
        raise ConfigError(
            "toolchain.unknown",
            f"unknown toolchain '{name}': expected one of {', '.join(known)}",
            hint=f"did you mean '{close[0]}'?" if close else "pack toolchain list shows them",
        )
    wanted, pins = folder / f"{name}{_WANTED}", folder / f"{name}{_PINS}"
    head = _head(wanted)
    content = "\n".join([*_requirements(wanted), "--", *_requirements(pins)])
    return Lock(
        name=name,
        wanted=wanted,
        pins=pins,
        summary=head.get("summary", ""),
        cpu=head.get("cpu", ""),
        digest=digest_bytes(content.encode()),
    )


def _head(path: Path) -> dict[str, str]:
    """The comments ``# key: value``."""
    comments = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return dict(comment.split(": ", 1) for comment in comments if ": " in comment)


def _requirements(path: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(line for line in lines if line)
