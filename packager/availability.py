"""Which targets this machine can build for: what of a target's toolchain is installed, here or in its environment."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from packager.errors import ToolchainError
from packager.registry import installed_version, open_target, registrations
from packager.toolchains.choice import find_toolchain
from packager.toolchains.environments import normalised

if TYPE_CHECKING:
    from targets._target import Target, Toolchain


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """A target, and whether this machine can build for it."""

    name: str
    summary: str
    extra: str
    hint: str
    """How to get what is missing; empty where nothing is."""
    distributions: dict[str, str | None]
    """Distribution to version, as installed here or in the toolchain's environment; None: missing."""
    executables: dict[str, bool]

    @property
    def available(self) -> bool:
        """Whether everything is here."""
        return None not in self.distributions.values() and all(self.executables.values())


def targets_available() -> tuple[Availability, ...]:
    """Every target, with what of its toolchain is here."""
    return tuple(availability(open_target(entry)) for entry in registrations().values())


def availability(target: Target, needed: Toolchain | None = None) -> Availability:
    """What of the toolchain `needed`, the target's own by default, is here; nothing of it is imported."""
    toolchain = needed or target.toolchain
    distributions = _distributions(toolchain)
    executables = {name: shutil.which(name) is not None for name in toolchain.executables}
    hints = []
    if None in distributions.values():
        hints.append(_installation(toolchain))
    if not all(executables.values()):
        hints.append(toolchain.hint)
    return Availability(
        name=target.name,
        summary=target.summary,
        extra=toolchain.extra,
        hint="; ".join(hints),
        distributions=distributions,
        executables=executables,
    )


def require(target: Target, needed: Toolchain | None = None) -> None:
    """See that everything of the toolchain `needed`, the target's own by default, is here.

    Raises:
        ToolchainError: something is missing.
    """
    state = availability(target, needed)
    if not state.available:
        missing = [name for name, version in state.distributions.items() if version is None]
        missing += [name for name, here in state.executables.items() if not here]
        raise ToolchainError(
            "toolchain.missing",
            f"target '{state.name}' needs {', '.join(missing)}, not installed here",
            hint=state.hint,
        )


def _distributions(toolchain: Toolchain) -> dict[str, str | None]:
    here = {name: installed_version(name) for name in toolchain.distributions}
    environment = find_toolchain(toolchain.environment) if None in here.values() and toolchain.environment else None
    if environment is None:
        return here
    return {name: environment.distributions.get(normalised(name)) for name in toolchain.distributions}


def _installation(toolchain: Toolchain) -> str:
    if toolchain.environment:
        return f"pack toolchain install {toolchain.environment}"
    if toolchain.extra:
        return f"pip install 'packtrain[{toolchain.extra}]'"
    return f"pip install {' '.join(toolchain.distributions)}"
