"""Damaged copies of model files: what a disk, a network or somebody with intent makes of them."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import TYPE_CHECKING

from bench.fuzzing.messages import change_message

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 2**64 - 1)
_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1, 2**31, 2**53, 2**70, -(2**63), 1e308, -1e-308, "", "\x00", "1e999", "nan", "é" * 50, [], {},
    [[]], {"a": {}}, [0] * 50,
)  # fmt: skip
_TOKENS = (b"nan", b"inf", b"-1", b"0", b"1e308", b"99999999999999999999", b"", b"=", b" ", b"\x00", b"[", b"-", b"e")
_DEEP = 3000


def mutate(data: bytes, form: str, source: random.Random) -> bytes:
    """One to four changes to a file of that form: ``binary``, ``json``, ``message``, ``offsets``, ``text``, ``zip``."""
    if form == "zip" and source.random() < 0.8:  # noqa: PLR2004 - the rest damages the archive itself
        return _in_archive(data, source)
    if form == "json" and source.random() < 0.7:  # noqa: PLR2004 - the rest breaks the syntax
        return _in_document(data, source)
    if form == "text" and source.random() < 0.7:  # noqa: PLR2004 - likewise
        return _in_lines(data, source)
    if form == "message" and source.random() < 0.8:  # noqa: PLR2004 - likewise
        changed = change_message(data, source)
        if changed is not None:
            return changed
    # A file whose parts point at each other says nothing any more once bytes move.
    changes = _CHANGES_IN_PLACE if form == "offsets" and source.random() < 0.8 else _BYTE_CHANGES  # noqa: PLR2004 - likewise
    for _ in range(source.randint(1, 4)):
        data = source.choice(changes)(data, source)
    return data


def _flip(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, source: random.Random) -> bytes:
    value = source.choice(_INTERESTING)
    width = source.choice((1, 2, 4, 8))
    number = (value & (256**width - 1)).to_bytes(width, source.choice(("little", "big")))
    place = source.randrange(len(data) + 1)
    return data[:place] + number + data[place + width :]


def _cut(data: bytes, source: random.Random) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _remove(data: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(data) + 1)
    return data[:start] + data[start + source.randint(1, 16) :]


def _repeat(data: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(data) + 1)
    part = data[start : start + source.choice((1, 4, 64, 1024))]
    return data[:start] + part * source.choice((2, 3, 50)) + data[start + len(part) :]


def _insert(data: bytes, source: random.Random) -> bytes:
    place = source.randrange(len(data) + 1)
    return data[:place] + source.randbytes(source.randint(1, 8)) + data[place:]


def _move(data: bytes, source: random.Random) -> bytes:
    start, place = source.randrange(len(data) + 1), source.randrange(len(data) + 1)
    part = data[start : start + source.randint(1, 64)]
    return data[:place] + part + data[place + len(part) :]


_BYTE_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _overwrite, _overwrite, _cut, _remove, _repeat, _insert, _move,
)  # fmt: skip


_CHANGES_IN_PLACE = (_flip, _overwrite)


def _in_archive(data: bytes, source: random.Random) -> bytes:
    """One member changed, and the archive written anew, so that its checksums hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, OSError):
        return _flip(data, source)
    # Big members are weights, whose bytes mean little: each member is as likely as every other.
    chosen = source.randrange(len(members))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for index, (info, content) in enumerate(members):
            form = "json" if info.filename.endswith(".json") else "binary"
            if index == chosen:
                if source.random() < 0.05:  # noqa: PLR2004 - now and then a member is missing
                    continue
                content = mutate(content, form, source)  # noqa: PLW2901 - the same member, damaged
            archive.writestr(info.filename, content)
    return out.getvalue()


def _in_document(data: bytes, source: random.Random) -> bytes:
    """One value of a JSON document changed."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _flip(data, source)
    for _ in range(source.randint(1, 3)):
        holder, key = _somewhere(document, source)
        if holder is None:
            break
        _change(holder, key, source)
    return json.dumps(document).encode()


def _somewhere(document: object, source: random.Random) -> tuple[object, object]:
    """A place in the document: deeper with every step, and by chance not the deepest."""
    holder: object = None
    key: object = None
    current = document
    while isinstance(current, dict | list) and current:
        holder = current
        key = source.choice(list(current)) if isinstance(current, dict) else source.randrange(len(current))
        current = current[key]  # type: ignore[index]  # the key is one of the holder's
        if source.random() < 0.15:  # noqa: PLR2004 - most changes are to leaves
            break
    return holder, key


def _change(holder: object, key: object, source: random.Random) -> None:
    if not isinstance(holder, dict | list):
        return
    action = source.random()
    if action < 0.15:  # noqa: PLR2004 - shares of the kinds of change
        del holder[key]  # type: ignore[arg-type]  # likewise
    elif action < 0.25 and isinstance(holder, dict):  # noqa: PLR2004 - likewise
        holder[source.choice(("extra", "", "__class__", "shape"))] = holder.pop(key)
    elif action < 0.3:  # noqa: PLR2004 - likewise
        deep: object = 0
        for _ in range(source.choice((10, 200, _DEEP // 10))):
            deep = [deep]
        holder[key] = deep  # type: ignore[index]  # likewise
    else:
        value = holder[key]  # type: ignore[index]  # likewise
        if isinstance(value, int | float) and source.random() < 0.5:  # noqa: PLR2004 - likewise
            holder[key] = value * source.choice((-1, 2, 1000)) + source.choice((-1, 0, 1))  # type: ignore[index]  # likewise
        else:
            holder[key] = copy.deepcopy(source.choice(_VALUES))  # type: ignore[index]  # likewise


def _in_lines(data: bytes, source: random.Random) -> bytes:
    """One to three lines of a text file changed."""
    lines = data.split(b"\n")
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(lines))
        action = source.random()
        if action < 0.2:  # noqa: PLR2004 - shares of the kinds of change
            del lines[place : place + source.randint(1, 3)]
            lines = lines or [b""]
        elif action < 0.35:  # noqa: PLR2004 - likewise
            lines.insert(place, source.choice(lines))
        else:
            words = lines[place].replace(b"=", b"= ").split(b" ")
            words[source.randrange(len(words))] = source.choice(_TOKENS)
            lines[place] = b" ".join(words).replace(b"= ", b"=")
    return b"\n".join(lines)
