"""The two files of Keras, .keras (a zip) and HDF5, checked before Keras sees them."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from packager.containment import limit_seconds
from packager.errors import ConversionError
from packager.importers._keras_config import SIZE_LIMIT as CONFIG_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"
WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
SIZE_LIMIT = 2**31 - 1
"""Of all that is in the file once it is unpacked, in bytes: an ONNX file can't hold more."""
_MOST_MEMBERS = 10_000
_SECONDS = 20
"""For HDF5 to find its way: what points at itself it follows for ever."""


def is_keras_zip(path: Path) -> bool:
    """Whether it is a zip with the members of Keras' own format."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {CONFIG, "metadata.json"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def is_hdf5(path: Path) -> bool:
    """Whether it is HDF5; Keras writes no user block in front of it."""
    with path.open("rb") as stream:
        return stream.read(len(HDF5)) == HDF5


def zip_config(path: Path) -> bytes:
    """The configuration in a .keras file whose members and weights are sound.

    Raises:
        ConversionError: it is too large once unpacked, holds a path that leads out of it, or refers to other files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            if WEIGHTS in archive.namelist():
                # Whole, because HDF5 is read from everywhere at once.
                _check_hdf5(path, io.BytesIO(archive.read(WEIGHTS)))
            return archive.read(CONFIG)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ConversionError("import.keras", f"'{path.name}' is damaged: {error}") from error


def hdf5_config(path: Path) -> bytes:
    """The configuration in an HDF5 file that is sound.

    Raises:
        ConversionError: it has none, is too large, or refers to other files.
    """
    import h5py

    try:
        with limit_seconds(_SECONDS), h5py.File(path) as file:
            _check_links(path, file)
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ConversionError("import.keras", f"'{path.name}' is damaged: {error}") from error
    if config is None:
        raise ConversionError(
            "import.weights",
            f"'{path.name}' holds weights without a model",
            hint="build the model in Keras, load the weights into it, and export it: model.save('model.keras')",
        )
    # h5py gives bytes that are no UTF-8 as surrogates.
    return config if isinstance(config, bytes) else str(config).encode(errors="surrogateescape")


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MOST_MEMBERS:
        raise ConversionError(
            "import.size", f"'{path.name}' has too many members: expected at most {_MOST_MEMBERS}, got {len(members)}"
        )
    size = sum(member.file_size for member in members)
    if size > SIZE_LIMIT:
        raise ConversionError(
            "import.size", f"'{path.name}' is too large once unpacked: expected at most {SIZE_LIMIT} bytes, got {size}"
        )
    for member in members:
        if member.filename.startswith(("/", "\\")) or ".." in member.filename.replace("\\", "/").split("/"):
            raise ConversionError(
                "import.path", f"'{path.name}' holds a path that leads out of it: '{member.filename}'"
            )
        if member.filename == CONFIG and member.file_size > CONFIG_LIMIT:
            raise ConversionError(
                "import.size",
                f"Keras configuration is too large: expected at most {CONFIG_LIMIT} bytes, got {member.file_size}",
            )


def _check_hdf5(path: Path, stream: BinaryIO) -> None:
    import h5py

    try:
        with limit_seconds(_SECONDS), h5py.File(stream) as file:
            _check_links(path, file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ConversionError("import.keras", f"the weights in '{path.name}' are damaged: {error}") from error


def _check_links(path: Path, file: Any) -> None:  # noqa: ANN401 - h5py ships no types
    """HDF5 can take data from other files, and unpack little into much."""
    import h5py

    total = 0

    def check(name: str, link: object) -> ConversionError | None:
        # Returned: h5py crashes where its visitor raises.
        nonlocal total
        if isinstance(link, h5py.ExternalLink):
            return _refers(path, name, str(link.filename))
        found = file.get(name)
        if isinstance(found, h5py.Dataset):
            if found.external:
                return _refers(path, name, str(found.external[0][0]))
            if found.is_virtual:
                return _refers(path, name, str(found.virtual_sources()[0].file_name))
            total += int(found.size or 0) * int(found.dtype.itemsize)
            if total > SIZE_LIMIT:
                return ConversionError(
                    "import.size", f"'{path.name}' is too large once unpacked: expected at most {SIZE_LIMIT} bytes"
                )
        return None

    problem = file.visititems_links(check)
    if problem is not None:
        raise problem


def _refers(path: Path, name: str, other: str) -> ConversionError:
    return ConversionError("import.path", f"'{path.name}' takes '{name}' from another file: '{other}'")
