"""The bytes of a pickle or joblib file, uncompressed as they are read, up to a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from packager.errors import ConversionError

if TYPE_CHECKING:
    from pathlib import Path

BYTES_LIMIT = 4 << 30
"""Of what a file may hold uncompressed."""
_LONGEST_LINE = 1 << 16
_BLOCK = 1 << 16
_LZ4 = b"\x04\x22\x4d\x18"


class Stream:
    """Reads forward, and never more than there is."""

    def __init__(self, source: BinaryIO, limit: int = BYTES_LIMIT) -> None:
        self._source = source
        self._limit = limit
        self.position = 0

    def read(self, count: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            ConversionError: the file ends, is past the limit, or can't be uncompressed.
        """
        self._advance(count)
        try:
            data = self._source.read(count)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise _broken(f"it can't be uncompressed: {error}") from error
        if len(data) != count:
            raise _broken(f"it ends {count - len(data)} bytes early")
        return data

    def skip(self, count: int) -> None:
        """Read over so many bytes."""
        while count > 0:
            step = min(count, _BLOCK)
            self.read(step)
            count -= step

    def line(self) -> bytes:
        """Up to the next line feed, which is left out; of a very long line only the start.

        Raises:
            ConversionError: as `read`.
        """
        start = b""
        while True:
            try:
                data = self._source.readline(_LONGEST_LINE)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise _broken(f"it can't be uncompressed: {error}") from error
            self._advance(len(data))
            start = start or data
            if data.endswith(b"\n"):
                return start.removesuffix(b"\n")
            if len(data) < _LONGEST_LINE:
                raise _broken("a line has no end")

    def _advance(self, count: int) -> None:
        self.position += count
        if self.position > self._limit:
            raise ConversionError(
                "import.size", f"model is too large: expected at most {self._limit} bytes uncompressed"
            )


class _Inflated(io.RawIOBase):
    """What zlib's bare streams hold: the only one of joblib's compressions without a file in the standard library."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer)).cast("B")
        while not self._inflate.eof:
            waiting = self._inflate.unconsumed_tail or self._source.read(_BLOCK)
            if not waiting:
                raise EOFError("the compressed data ends early")
            data = self._inflate.decompress(waiting, len(view))
            if data:
                view[: len(data)] = data
                return len(data)
        return 0


def open_stream(path: Path, source: BinaryIO, limit: int = BYTES_LIMIT) -> Stream:
    """What `source`, the file at `path` from its start, holds; at most `limit` bytes are read of it, uncompressed.

    Raises:
        ConversionError: it is compressed in a way that is not known here.
    """
    head = source.read(6)
    source.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return Stream(cast("BinaryIO", gzip.GzipFile(fileobj=source)), limit)
    if head.startswith(b"BZh"):
        return Stream(cast("BinaryIO", bz2.BZ2File(source)), limit)
    if head.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return Stream(cast("BinaryIO", lzma.LZMAFile(source)), limit)
    if is_zlib(head):
        return Stream(cast("BinaryIO", io.BufferedReader(_Inflated(source), _BLOCK)), limit)
    if head.startswith(_LZ4):
        raise ConversionError(
            "import.pickle",
            f"'{path.name}' is compressed by lz4: expected zlib, gzip, bz2, lzma, xz, or no compression",
            hint="store it with joblib.dump(model, path, compress=3)",
        )
    return Stream(source, limit)


def is_zlib(head: bytes) -> bool:
    """Whether it starts as RFC 1950 says: a method of 8 and a multiple of 31."""
    return len(head) > 1 and head[0] == 0x78 and (head[0] << 8 | head[1]) % 31 == 0  # noqa: PLR2004 - RFC 1950, 2.2


def is_compressed(head: bytes) -> bool:
    """Whether it starts as one of joblib's compressions."""
    return is_zlib(head) or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", _LZ4))


def _broken(problem: str) -> ConversionError:
    return ConversionError("import.pickle", f"not a pickle: {problem}")
