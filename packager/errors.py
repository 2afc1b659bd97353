"""What goes wrong in the packager, by what the caller of `pack` can do about it: each class is an exit code."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from packager.gates import GateResult


class ExitCode(IntEnum):
    """The exit codes of `pack`."""

    OK = 0
    BUG = 1
    USAGE = 2
    """Usage or configuration."""
    CONVERSION = 3
    GATE = 4
    SIGNATURE = 5
    """Signature or policy."""
    NETWORK = 6
    """Network or authentication."""
    TOOLCHAIN = 7
    """A toolchain is missing."""


class PackError(Exception):
    """Something that the user can do something about.

    Attributes:
        code: stable identifier, such as ``config.field``.
        hint: what to do next; empty where nothing is known to help.
        exit_code: what `pack` exits with.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class ConfigError(PackError):
    """``pack.toml``, the command line or the data can't be used as they are."""

    exit_code = ExitCode.USAGE


class ConversionError(PackError):
    """The model could not be fetched as named, imported, converted or measured."""

    exit_code = ExitCode.CONVERSION


class GateError(PackError):
    """A gate failed, so there is no bundle.

    Attributes:
        gates: the results of all gates of that target, the passed ones too.
    """

    exit_code = ExitCode.GATE

    def __init__(self, code: str, message: str, *, gates: tuple[GateResult, ...], hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.gates = gates


class SignatureError(PackError):
    """A signature is bad or can't be made or checked."""

    exit_code = ExitCode.SIGNATURE


class NetworkError(PackError):
    """A registry can't be reached, or refuses us."""

    exit_code = ExitCode.NETWORK


class ToolchainError(PackError):
    """What a target, a source or an importer needs is not installed here."""

    exit_code = ExitCode.TOOLCHAIN
