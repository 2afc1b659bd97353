"""What a file of PyTorch is, told by its content, without PyTorch."""

from __future__ import annotations

import io
import pickletools
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from packager.errors import ConversionError
from packager.importers._files import is_zip

if TYPE_CHECKING:
    from pathlib import Path

Kind: TypeAlias = Literal["program", "old-program", "script", "pickle", "safetensors"]
"""An exported program, one of PyTorch before 2.9, TorchScript, anything that torch.save wrote, or weights alone."""

SIZE_LIMIT = 2**31 - 1
"""Of all that is in the file, in bytes: an ONNX file can't hold more."""
MOST_MEMBERS = 100_000

_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of torch.save's magic number, which PyTorch before 1.6 begins with: torch/serialization.py."""
_PICKLE_LIMIT = 16 << 20
"""Of what is looked at, in bytes: the tensors themselves come after it, or stand elsewhere."""
_LEGACY_PICKLES = 4
"""Magic number, protocol, sizes of the machine's integers, and the object."""
_TENSOR = re.compile(
    r"collections\.\w+|torch\.(?:_utils\._rebuild\w+|\w+Storage|nn\.parameter\.Parameter|Size|device|\w+)"
)
"""What a dictionary of tensors names."""
_CODE_LIMIT = 64 << 20
_CLASS = re.compile(r"^class (\w+)\(Module\):", re.MULTILINE)
_CALL = re.compile(r"\b(?:torch|ops\.\w+)\.\w+(?=\()")
_REACHES = re.compile(r"file|save|load|url|system|script", re.IGNORECASE)
_MOST = 8


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What a TorchScript file holds."""

    classes: tuple[str, ...]
    """Of its modules."""
    operators: tuple[str, ...]
    """That its code calls."""

    @property
    def reaching(self) -> tuple[str, ...]:
        """The operators whose names say that they may reach files."""
        return tuple(name for name in self.operators if _REACHES.search(name))


def kind_of(path: Path) -> Kind | None:
    """What the file is; None: not PyTorch's."""
    with path.open("rb") as stream:
        head = stream.read(len(_LEGACY))
    if head == _LEGACY:
        return "pickle"
    if head.startswith(b"PK"):
        return _zip_kind(path)
    return "safetensors" if _is_safetensors(path, head) else None


def describe_script(path: Path) -> Script:
    """The modules of a TorchScript file, and the operators that they call."""
    classes: dict[str, None] = {}
    operators: dict[str, None] = {}
    budget = _CODE_LIMIT
    with open_archive(path) as archive:
        for member in archive.infolist():
            if "/code/" not in member.filename or not member.filename.endswith(".py"):
                continue
            budget -= member.file_size
            if budget < 0:
                raise ConversionError("import.size", f"the code in '{path.name}' is too large")
            text = read_member(path, archive, member.filename).decode(errors="replace")
            classes |= dict.fromkeys(_CLASS.findall(text))
            operators |= dict.fromkeys(_CALL.findall(text))
    return Script(classes=tuple(classes), operators=tuple(sorted(operators)))


def pickled_classes(path: Path) -> tuple[str, ...]:
    """The classes that a file of torch.save names, beside those that tensors are made of; nothing of it is run."""
    if is_zip(path):
        with open_archive(path) as archive:
            name = next(entry for entry in archive.namelist() if entry.partition("/")[2] == "data.pkl")
            encoded = read_member(path, archive, name)[:_PICKLE_LIMIT]
    else:
        with path.open("rb") as stream:
            encoded = stream.read(_PICKLE_LIMIT)
    found: dict[str, None] = {}
    pickles = io.BytesIO(encoded)
    for _ in range(_LEGACY_PICKLES):
        try:
            for operation, argument, _ in pickletools.genops(pickles):
                if operation.name == "GLOBAL":
                    found[str(argument).replace(" ", ".")] = None
        except ValueError:  # its end, or what is no pickle
            break
    return tuple(name for name in found if not _TENSOR.fullmatch(name))


def open_archive(path: Path) -> zipfile.ZipFile:
    """The zip, whose size and number of members are within the limits.

    Raises:
        ConversionError: they are not, or it is damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ConversionError("import.torch", f"'{path.name}' is damaged: {error}") from error
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > SIZE_LIMIT or len(members) > MOST_MEMBERS:
        archive.close()
        raise ConversionError(
            "import.size",
            f"'{path.name}' is too large once unpacked: expected at most {SIZE_LIMIT} bytes in {MOST_MEMBERS} members, "
            f"got {size} in {len(members)}",
        )
    return archive


def read_member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """The member, whole.

    Raises:
        ConversionError: it is damaged.
    """
    try:
        return archive.read(name)
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise ConversionError("import.torch", f"'{path.name}' is damaged: {error}") from error


def some(names: tuple[str, ...]) -> str:
    """The first few names."""
    rest = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + rest


def _zip_kind(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner and any(name.startswith("models/") for name in inner):
        return "program"
    if "serialized_exported_program.json" in names:
        return "old-program"
    if "data.pkl" not in inner:
        return None
    return "script" if "constants.pkl" in inner or any(name.startswith("code/") for name in inner) else "pickle"


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Whether it begins with the length of a JSON header, and that header."""
    if len(head) <= struct.calcsize("<Q") or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return bool(length <= path.stat().st_size - 8)
