"""What an emitter raises where a node can't be expressed."""

from __future__ import annotations


class UnsupportedError(Exception):
    """A node can't be expressed in the target's operators; the message is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint
