"""What a Keras model's configuration says, looked at before Keras is: bounded, and searched for what runs code."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import msgspec

from packager.errors import ConversionError
from packager.importers._json import parse_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_LIMIT = 64 << 20
"""Of the configuration, in bytes: ten times that of the largest application that Keras ships."""
DEPTH_LIMIT = 100
"""Of its nested lists and objects."""
_RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"})
"""Keras' own classes whose configuration holds a program, or names one."""
_TABLES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"})
"""Layers that read a vocabulary from any path that their configuration names."""
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{2,}")
_MOST_WORDS = 8


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in the configuration that would run code."""

    layer: str
    what: str
    """What it would run, in words."""
    foreign: bool
    """Whether the code is not in the file, so that trusting it does not help."""


def parse_config(encoded: bytes) -> dict[str, object]:
    """The configuration.

    Raises:
        ConversionError: it is too large or too deep, or no JSON object.
    """
    parsed = parse_bounded(encoded, "Keras configuration", size=SIZE_LIMIT, depth=DEPTH_LIMIT)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("config"), dict | list):
        raise ConversionError("import.keras", "Keras configuration describes no model")
    return parsed


def risks(config: dict[str, object]) -> list[Risk]:
    """Everything in a parsed configuration that would run code, or read a file that is not the model's."""
    return list(_risks({key: config[key] for key in config if key != "compile_config"}, ""))


def _risks(part: object, layer: str) -> Iterator[Risk]:
    if isinstance(part, list):
        for entry in part:
            yield from _risks(entry, layer)
        return
    if not isinstance(part, dict):
        return
    name, module = part.get("class_name"), part.get("module")
    config = part.get("config")
    if isinstance(name, str):
        layer = _layer(part, layer)
        risk = _risk(name, module, config, layer)
        if risk is not None:
            yield risk
            return
    for key, entry in part.items():
        if key != "registered_name":
            yield from _risks(entry, layer)


def _layer(part: dict[str, object], above: str) -> str:
    config = part.get("config")
    named = part.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return named if isinstance(named, str) else above


def _risk(name: str, module: object, config: object, layer: str) -> Risk | None:
    if name in _RUNS_CODE:
        return Risk(layer=layer, what=f"a {name} would run {_program(config)}", foreign=False)
    if isinstance(module, str) and module.partition(".")[0] not in {"keras", "builtins"}:
        return Risk(layer=layer, what=f"would import {module} and run {module}.{name}", foreign=True)
    if name in _TABLES and isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return Risk(layer=layer, what=f"a {name} would read the file '{config['vocabulary']}'", foreign=True)
    return None


def _program(config: object) -> str:
    """What a layer's program is, in words: its file's or function's name, or the names that its code uses."""
    if not isinstance(config, dict):
        return "code of its own"
    if isinstance(config.get("filepath"), str):
        return f"the SavedModel '{config['filepath']}'"
    code = _code(config.get("function", config.get("code")))
    if isinstance(code, bytes):
        words = dict.fromkeys(word.decode() for word in _WORD.findall(code))
        return f"Python bytecode that uses {', '.join(list(words)[:_MOST_WORDS])}" if words else "Python bytecode"
    return f"the function '{code}'" if code else "code of its own"


def _code(function: object) -> bytes | str:
    """The marshalled code of a function, or its name; a function stands in one of three forms, by Keras' version."""
    if isinstance(function, dict):
        inner = function.get("config")
        return _code(inner.get("code") if isinstance(inner, dict) else inner)
    if isinstance(function, list):
        return _code(function[0]) if function else ""
    if not isinstance(function, str):
        return ""
    try:
        return base64.b64decode("".join(function.split()), validate=True)
    except binascii.Error:
        return function
