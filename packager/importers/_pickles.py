"""Look into a pickle or joblib file without running it: what it names, and what of that is no part of a model.

Followed to its end and within limits, so that what is found is what a reader would do. A list of what is harmless
never makes a file safe to read: files are refused unless ``pack.toml`` trusts them, whatever is found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packager.errors import ConversionError
from packager.importers._compression import is_compressed, open_stream
from packager.importers._files import first_bytes
from packager.importers._pickle_machine import COMPUTED, EXTENSION, PERSISTENT, Machine
from packager.importers._pickle_symbols import Made, Name

if TYPE_CHECKING:
    from pathlib import Path

_PROTOCOL = 0x80
_PROTOCOLS = frozenset({2, 3, 4, 5})
_SUFFIXES = frozenset({".joblib", ".pickle", ".pkl"})
"""Of files that are taken for pickles where the content alone does not tell: compressed, or of protocol 0 or 1."""
_OLD_START = re.compile(rb"[(\]}c]")
_LIBRARIES = frozenset({"catboost", "lightgbm", "numpy", "scipy", "sklearn", "xgboost"})
_CLASS = re.compile(r"[A-Za-z_.\d]+\.(?:_?[A-Z][A-Za-z\d]*|__pyx_unpickle_\w+|newObj)")
"""A name within those libraries that is a class, or makes one of Cython's."""
_PLAIN = frozenset(
    {
        *(f"builtins.{name}" for name in
          ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range",
           "set", "slice", "str", "tuple")),
        *(f"__builtin__.{name}" for name in ("bytearray", "bytes", "complex", "frozenset", "object", "set", "slice")),
        *(f"numpy.{kind}" for kind in
          ("dtype", "ndarray", "bool_", "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
           "uint8", "uint16", "uint32", "uint64", "str_")),
        *(f"numpy.{package}.multiarray.{name}" for package in ("core", "_core") for name in ("_reconstruct", "scalar")),
        *(f"numpy.random._pickle.{name}" for name in
          ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor")),
        "numpy.ma.core._mareconstruct", "numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer",
        "_codecs.encode", "collections.Counter", "collections.OrderedDict", "collections.defaultdict",
        "copyreg.__newobj__", "copyreg._reconstructor", "copy_reg._reconstructor",
        "joblib.numpy_pickle.NumpyArrayWrapper",
    }
)  # fmt: skip
_MOST_NAMED = 12


class Scan(NamedTuple):
    """What a pickle would do."""

    root: str
    """The class of the whole, such as ``sklearn.pipeline.Pipeline``; empty: it is none."""
    foreign: tuple[str, ...]
    """What it names that is no class of the libraries that models are made with, sorted."""
    libraries: tuple[str, ...]
    """Whose classes it names, sorted."""

    def words(self) -> str:
        """What was found, in a sentence that follows a colon."""
        inside = f"classes of {', '.join(self.libraries)}" if self.libraries else "nothing of a model's libraries"
        if not self.foreign:
            return f"it names {inside}, and nothing else"
        named = ", ".join(self.foreign[:_MOST_NAMED])
        more = f" and {len(self.foreign) - _MOST_NAMED} more" if len(self.foreign) > _MOST_NAMED else ""
        return f"it names {inside}, and beside them {named}{more}"


def is_pickle(path: Path) -> bool:
    """Whether it looks like a pickle or joblib file, by its first bytes."""
    head = first_bytes(path, 8)
    if len(head) > 1 and head[0] == _PROTOCOL and head[1] in _PROTOCOLS:
        return True
    return path.suffix.lower() in _SUFFIXES and (is_compressed(head) or _OLD_START.match(head) is not None)


def first_class(path: Path) -> str:
    """The first class that the pickle names, which mostly is that of the whole; empty: there is none.

    Reads a few instructions alone.
    """
    try:
        with path.open("rb") as source:
            Machine(open_stream(path, source, _START), _stop_at_class, most=_FEW).follow()
    except _Found as found:
        return found.name
    except ConversionError:
        pass
    return ""


def scan_pickle(path: Path) -> Scan:
    """What the pickle at `path` would do.

    Raises:
        ConversionError: it is not a pickle, or past a limit; or something follows it.
    """
    names: set[str] = set()
    with path.open("rb") as source:
        root = Machine(open_stream(path, source), names.add).follow()
    kind = root.kind if isinstance(root, Made) else None
    if kind in _RECONSTRUCTORS and isinstance(root, Made) and root.arguments:
        kind = root.arguments[0]
    harmless = {name for name in names if _is_plain(name)}
    libraries = {name.partition(".")[0] for name in harmless} & _LIBRARIES
    return Scan(
        root=kind.text if isinstance(kind, Name) else "",
        foreign=tuple(sorted(names - harmless)),
        libraries=tuple(sorted(libraries)),
    )


_FEW = 2000
_START = 1 << 20
"""Bytes in which a model names its class; a bomb is not opened to find it."""
_RECONSTRUCTORS = frozenset({Name("copyreg._reconstructor"), Name("copy_reg._reconstructor")})


class _Found(Exception):  # noqa: N818 - it ends the search, which is no error
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _stop_at_class(name: str) -> None:
    if Name(name) not in _RECONSTRUCTORS:
        raise _Found(name)


def _is_plain(name: str) -> bool:
    if name in {COMPUTED, EXTENSION, PERSISTENT}:
        return False
    return name in _PLAIN or (name.partition(".")[0] in _LIBRARIES and _CLASS.fullmatch(name) is not None)
