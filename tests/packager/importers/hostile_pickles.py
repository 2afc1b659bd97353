"""Pickles that do harm when they are read, each with what a look into it must find; none of them is ever read."""

from __future__ import annotations

import builtins
import bz2
import collections
import io
import lzma
import os
import pickle
import struct
import subprocess
import zlib
from typing import Any, NamedTuple

import joblib
import numpy as np


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:  # noqa: ANN401 - whatever can be called
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


class Hostile(NamedTuple):
    data: bytes
    named: str
    """What the scan names."""


def text(word: str) -> bytes:
    return b"\x8c" + bytes([len(word)]) + word.encode()


def joblib_bytes(value: object, **options: Any) -> bytes:  # noqa: ANN401 - joblib's
    stream = io.BytesIO()
    joblib.dump(value, stream, **options)
    return stream.getvalue()


def hidden_behind_an_array() -> bytes:
    """joblib's own format: instructions, the bytes of an array that look like the end of a pickle, instructions."""
    array = np.frombuffer(b"N." * 512, dtype=np.uint8)
    return joblib_bytes([array, Calls(os.system, "true")])


def from_the_memo() -> bytes:
    """The module and the name of the function are put into the memo long before they are used."""
    return (
        b"\x80\x04" + text("system") + b"\x94" + text("posix") + b"\x940" + b"0"
        + b"h\x01h\x00\x93" + text("true") + b"\x85R."
    )  # fmt: skip


def within_a_frame() -> bytes:
    """An array ends before its frame does: joblib reads its bytes after the frame, others where it stands."""
    plain = joblib_bytes(np.zeros(4))
    start = plain.index(b"\x95")
    length = struct.unpack("<Q", plain[start + 1 : start + 9])[0]
    return plain[: start + 1] + struct.pack("<Q", length + 16) + plain[start + 9 :]


def before_an_array_of_objects() -> bytes:
    """What joblib writes before the pickle of such an array's elements."""
    whole = joblib_bytes(np.array([None], dtype=object))
    return whole[: whole.rindex(b"\x80")]


SYSTEM = Calls(os.system, "true")
LOADS = Calls(pickle.loads, pickle.dumps(SYSTEM))
CHAIN = Calls(getattr, Calls(getattr, Calls(__import__, "os"), "__dict__"), "get")

NAMED: dict[str, Hostile] = {
    **{f"protocol {version}": Hostile(pickle.dumps(SYSTEM, version), "system") for version in range(6)},
    "eval": Hostile(pickle.dumps(Calls(builtins.eval, "1")), "builtins.eval"),
    "exec": Hostile(pickle.dumps(Calls(builtins.exec, "")), "builtins.exec"),
    "a chain of getattr": Hostile(pickle.dumps(CHAIN), "builtins.getattr"),
    "subprocess": Hostile(pickle.dumps(Calls(subprocess.check_output, ["true"])), "subprocess.check_output"),
    "a pickle in a pickle": Hostile(pickle.dumps(LOADS), "posix.system"),
    "names from the memo": Hostile(from_the_memo(), "posix.system"),
    "a name that is computed": Hostile(
        b"\x80\x04cbuiltins\nstr\n" + text("posix") + b"\x85R" + text("system") + b"\x93" + text("true") + b"\x85R.",
        "a name that is computed",
    ),
    "a path of names": Hostile(b"\x80\x04" + text("sklearn.os") + text("system") + b"\x93" + text("x") + b"\x85R.",
                               "sklearn.os.system"),
    "a module of a library": Hostile(b"cnumpy.testing._private.utils\nrunstring\n(Vx\nVy\ntR.", "runstring"),
    "the old instruction INST": Hostile(b"(S'true'\niposix\nsystem\n.", "posix.system"),
    "the old instruction OBJ": Hostile(b"(cposix\nsystem\nS'true'\no.", "posix.system"),
    "a persistent id": Hostile(b"\x80\x04" + text("os.system") + b"Q.", "a persistent id"),
    "a registered extension": Hostile(b"\x80\x02\x82\x01)R.", "a registered extension"),
    "behind what is popped": Hostile(b"\x80\x04cposix\nsystem\n" + text("true") + b"\x85R0N.", "posix.system"),
    "joblib, behind an array": Hostile(hidden_behind_an_array(), "posix.system"),
    "joblib, among objects": Hostile(joblib_bytes(np.array([SYSTEM, None], dtype=object)), "posix.system"),
    "joblib, in records": Hostile(joblib_bytes(np.array([(1, SYSTEM)], dtype=[("a", "i4"), ("b", "O")])), "system"),
    **{f"joblib, {kind}": Hostile(joblib_bytes([np.zeros(9), SYSTEM], compress=(kind, 3)), "posix.system")
       for kind in ("zlib", "gzip", "bz2", "lzma", "xz")},
    "a subclass with a state": Hostile(pickle.dumps([collections.OrderedDict(a=SYSTEM), 1]), "posix.system"),
}  # fmt: skip
"""Each would run something."""


def many(instruction: bytes, count: int) -> bytes:
    return b"\x80\x04" + instruction * count


BROKEN: dict[str, Hostile] = {
    "cut": Hostile(pickle.dumps(list(range(1000)))[:-20], "ends"),
    "cut, compressed": Hostile(joblib_bytes(np.arange(1000.0), compress=3)[:-30], "uncompressed|ends"),
    "a memo of many gigabytes": Hostile(b"\x80\x04N" + b"r\xff\xff\xff\xff.", "memo"),
    "a memo from a line": Hostile(b"Np99999999999\n.", "memo"),
    "bytes of many exabytes": Hostile(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "ends|too large"),
    "text of many gigabytes": Hostile(b"\x80\x04X\xff\xff\xff\x7f.", "ends"),
    "a number of many digits": Hostile(b"I" + b"9" * 60_000 + b"\n.", "digits"),
    "a number of a negative length": Hostile(b"\x80\x02\x8b\xff\xff\xff\xff.", "below zero"),
    "an array past the end": Hostile(joblib_bytes(np.zeros(4))[:-8], "ends"),
    "an array in a frame": Hostile(within_a_frame(), "within a frame"),
    "no stack": Hostile(b"\x80\x04R.", "takes more than there is"),
    "no mark": Hostile(b"\x80\x04e.", "mark"),
    "no instruction": Hostile(b"\x80\x04\xff.", "not known"),
    "an empty place of the memo": Hostile(b"\x80\x04h\x05.", "memo"),
    "a bomb": Hostile(zlib.compress(b"\x80\x04" + b"N0" * 3_000_000), "instructions"),
    "bz2 that is none": Hostile(bz2.compress(b"\x80\x04N.")[:-6] + b"......", "uncompressed|ends"),
    "xz that is none": Hostile(lzma.compress(b"\x80\x04N0" * 99)[:-9], "uncompressed|ends"),
    "pickles in pickles": Hostile(before_an_array_of_objects() * 40, "8 deep"),
}
"""None of them is a pickle, or not one that is worth reading."""


def laughs(levels: int = 60) -> bytes:
    """A list of two of the list below it, and so on: 2 ** levels of them, in as many instructions."""
    return b"\x80\x04]q\x00" + b"".join(
        b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1]) for level in range(levels)
    ) + b"."  # fmt: skip
