"""Answers that are larger than a message: split into parts by the server, joined by the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.errors import WireError
from wire.messages import PARTS_LIMIT, Data

if TYPE_CHECKING:
    from collections.abc import Iterator

PART_BYTES = 96 << 10
"""Payload of one part: a message with its frame stays below `wire.topics.PAYLOAD_LIMIT`."""


def split_answer(request: str, content: bytes) -> Iterator[Data]:
    """The messages that answer the request of that id with `content`.

    Raises:
        WireError: the content is larger than an answer may be.
    """
    parts = max(1, -(-len(content) // PART_BYTES))
    if parts > PARTS_LIMIT:
        raise WireError(
            "wire.size", f"answer is too large: expected at most {PARTS_LIMIT * PART_BYTES} bytes, got {len(content)}"
        )
    for part in range(parts):
        payload = content[part * PART_BYTES : (part + 1) * PART_BYTES]
        yield Data(id=request, status="ok", part=part, parts=parts, payload=payload)


class Answer:
    """The parts of one answer, in whatever order they come."""

    def __init__(self, request: str) -> None:
        self._request = request
        self._parts: dict[int, bytes] = {}
        self._expected = 0

    def add(self, data: Data) -> bytes | None:
        """The whole content once `data` completes it, else None. A part that comes twice counts once.

        Raises:
            WireError: it answers another request, brings no content, or contradicts the parts before it.
        """
        if data.id != self._request:
            raise WireError("wire.answer", f"answer to another request: expected '{self._request}', got '{data.id}'")
        if data.status != "ok":
            raise WireError("wire.answer", f"request '{data.id}' was answered: {data.status}")
        if self._expected not in (0, data.parts) or data.part >= data.parts:
            raise WireError("wire.answer", f"part {data.part} of {data.parts} does not fit the parts before it")
        self._expected = data.parts
        self._parts.setdefault(data.part, data.payload)
        if len(self._parts) < self._expected:
            return None
        return b"".join(self._parts[part] for part in range(self._expected))
