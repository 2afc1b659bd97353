"""The errors of bundles, by what the catcher does: refuse the bundle, or report that it could not be checked."""

from __future__ import annotations


class ManifestError(Exception):
    """A bundle, or a part of one, can't be used.

    Attributes:
        code: stable identifier, such as ``bundle.digest``.
        hint: what to do next; empty where nothing is known to help.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class InvalidManifestError(ManifestError):
    """The bytes are not a manifest that this version may read."""


class DigestMismatchError(ManifestError):
    """The bytes are not those that were named."""

    def __init__(self, what: str, *, expected: str, got: str) -> None:
        super().__init__(
            "bundle.digest",
            f"digest of '{what}' does not match: expected {expected}, got {got}",
            hint="fetch it again; if it happens again, the sender or the store is damaged",
        )
        self.expected = expected
        self.got = got


class InvalidSignatureError(ManifestError):
    """A signature was checked and is bad, or none is by a trusted key."""


class UncheckableError(ManifestError):
    """Nothing can be said: what the check needs (a key, a file) is missing or unreadable."""


class LayoutError(ManifestError):
    """A folder is not the OCI image layout that it should be."""
