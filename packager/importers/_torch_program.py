"""PyTorch's exported programs (.pt2), made safe to load.

PyTorch's reader unpickles what it does not understand, evaluates symbolic sizes as Python, and takes any attribute of
its package for an operator. So it gets a private copy, in which all that it would do so is checked, or left out.
"""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, NoReturn

from packager.errors import ConversionError
from packager.importers._json import parse_bounded
from packager.importers._torch_files import open_archive, read_member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_JSON_LIMIT = 256 << 20
_DEPTH_LIMIT = 200
_KEPT = re.compile(r"archive_format|archive_version|byteorder|version|\.data/\w+|data/(?:weights|constants)/\w+")
"""Members that are copied as they are."""
_CONFIG = re.compile(r"data/(?:weights|constants)/\w+_config\.json")
_PROGRAM = re.compile(r"models/\w+\.json")
_SAMPLES = re.compile(r"data/sample_inputs/\w+\.pt")
"""A pickle that nothing here needs."""
_DROPPED = re.compile(r"extra/.*")

_OPERATOR = re.compile(r"torch\.ops\.(?:aten|prim|prims|torchvision|quantized_decomposed)\.(\w+)(?:\.\w+)?")
_ORDERED = frozenset(
    {
        "associative_scan",
        "cond",
        "map_impl",
        "scan",
        "while_loop",
        "wrap_with_autocast",
        "wrap_with_set_grad_enabled",
    }
)
"""Operators that take graphs."""
_HIGHER = re.compile(r"torch\.ops\.higher_order\.(\w+)")
_SYMBOLIC = re.compile(r"torch\._?sym_\w+|math\.\w+")
_PYTHON = re.compile(
    r"_operator\.(?:add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|getitem|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|lshift|rshift)"
)
_TOKEN = re.compile(r"'\w+'|[A-Za-z_]\w*|[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|\*\*|//|[<>=!]=|[-+*/%<>=(),|&~\s]")
_WORDS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Mod|Abs|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not|Piecewise"
    r"|ceiling|floor|FloorDiv|CeilDiv|CleanDiv|PythonMod|ModularIndexing|IntTrueDiv|FloatTrueDiv"
    r"|PowByNatural|FloatPow|ToFloat|TruncToInt|TruncToFloat|CeilToInt|FloorToInt|RoundToInt|RoundDecimal"
    r"|Where|LShift|RShift|BitwiseFn_bitwise_and|BitwiseFn_bitwise_or|Identity"
    r"|IsNonOverlappingAndDenseIndicator|OpaqueUnaryFn_sqrt|positive|negative|nonnegative|nonpositive"
    r"|nonzero|zero|integer|real|finite|true|false|True|False|oo|int_oo"
)
"""Of sympy and of PyTorch's own functions in it: torch/utils/_sympy/functions.py."""
_NAME = re.compile(r"[a-z]{1,4}[0-9]+")
"""What PyTorch calls a symbol."""
_CONTAINERS = frozenset({None, "builtins.dict", "builtins.list", "builtins.tuple", "collections.OrderedDict"})
_SPECIFICATIONS = frozenset({"in_spec", "out_spec"})


def write_safe_copy(path: Path, copy: Path) -> None:
    """Write `copy`, an exported program that runs nothing but PyTorch's operators, neither when it is read nor later.

    Raises:
        ConversionError: the program needs more; the message says what it would run.
    """
    with open_archive(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as safe:
        for member in archive.infolist():
            name = member.filename.partition("/")[2]
            if _DROPPED.fullmatch(name):
                continue
            content = read_member(path, archive, member.filename)
            if _PROGRAM.fullmatch(name):
                content = _safe_program(path, content)
            elif _CONFIG.fullmatch(name):
                _check_config(path, content)
            elif _SAMPLES.fullmatch(name):
                content = b""
            elif not _KEPT.fullmatch(name):
                _refuse(path, f"holds '{name}', which is no part of a program")
            safe.writestr(member.filename, content)


def _safe_program(path: Path, content: bytes) -> bytes:
    program = _parse(path, content)
    program["guards_code"] = []
    _check(path, program)
    return json.dumps(program).encode()


def _check_config(path: Path, content: bytes) -> None:
    parsed = _parse(path, content)
    for part in _objects(parsed):
        if part.get("use_pickle") or str(part.get("path_name", "")).startswith("custom_obj"):
            _refuse(path, f"would unpickle '{part.get('path_name')}'")
    _check(path, parsed)


def _parse(path: Path, content: bytes) -> dict[str, object]:
    parsed = parse_bounded(content, f"a description in '{path.name}'", size=_JSON_LIMIT, depth=_DEPTH_LIMIT)
    if not isinstance(parsed, dict):
        raise ConversionError("import.torch", f"'{path.name}' is damaged: a description is no JSON object")
    return parsed


def _check(path: Path, program: dict[str, object]) -> None:
    """Check all that is looked up or evaluated, and forget where the code stood that the program was made from."""
    for part in _objects(program):
        if "metadata" in part:
            part["metadata"] = {}
        for key in ("target", "as_operator"):
            operator = part.get(key)
            if isinstance(operator, str) and "inputs" in part and not _known(operator):
                _refuse(path, f"would run '{operator}'")
            if key == "as_operator" and isinstance(operator, str) and not _known(operator):
                _refuse(path, f"would run '{operator}'")
        expression = part.get("expr_str")
        if isinstance(expression, str) and not _harmless(expression):
            _refuse(path, f"would evaluate '{expression[:200]}'")
        if part.get("as_custom_obj") or part.get("treespec_namedtuple_fields"):
            _refuse(path, "names classes of its maker's")
        for key in _SPECIFICATIONS:
            specification = part.get(key)
            if isinstance(specification, str) and specification:
                _check_containers(path, specification)


def _check_containers(path: Path, specification: str) -> None:
    """How inputs and outputs nest, as PyTorch writes it: a version, and a tree of container types."""
    parsed = parse_bounded(specification.encode(), f"a structure in '{path.name}'", size=1 << 20, depth=_DEPTH_LIMIT)
    for part in _objects(parsed):
        kind = part.get("type")
        if "children_spec" in part and kind not in _CONTAINERS:
            _refuse(path, f"names the class '{kind}'")


def _known(operator: str) -> bool:
    found = _OPERATOR.fullmatch(operator)
    if found is not None:
        return "file" not in found[1]
    higher = _HIGHER.fullmatch(operator)
    if higher is not None:
        return higher[1] in _ORDERED
    return bool(_SYMBOLIC.fullmatch(operator) or _PYTHON.fullmatch(operator))


def _harmless(expression: str) -> bool:
    """Whether it is arithmetic over symbols: the reader gives it to sympy, which evaluates it as Python."""
    place = 0
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            return False
        word = token[0]
        if word[0].isalpha() or word[0] == "_":
            if not _WORDS.fullmatch(word) and not _NAME.fullmatch(word):
                return False
        elif word[0] == "'" and not _NAME.fullmatch(word.strip("'")):
            return False
        place = token.end()
    return True


def _objects(part: object) -> Iterator[dict[str, object]]:
    """All JSON objects in a document."""
    waiting = [part]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            yield entry
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)


def _refuse(path: Path, what: str) -> NoReturn:
    raise ConversionError(
        "import.code",
        f"'{path.name}' {what}",
        hint="export it with PyTorch's own operators; or, where you know who made it, set trusted = true in [model]",
    )
