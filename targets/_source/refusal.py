"""What an emitter raises where a node can't be expressed, and operators that no emitter can express."""

from __future__ import annotations


class UnsupportedError(Exception):
    """A node can't be expressed in the target's operators; the message is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


INEXPRESSIBLE = {
    **dict.fromkeys(("NonMaxSuppression", "NonZero", "Unique"), "how many entries it gives depends on the data"),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"), "it works on text"
    ),
}
"""Operators that no file of fixed shapes and numbers can express, and why."""
