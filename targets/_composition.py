"""What a shipped file is made of, layer by layer, for people who ask why it is large or slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from targets._target import Artifact


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the file, as the runtime sees it."""

    name: str
    operator: str
    precision: str
    """Element type of what it computes, as numpy calls it; empty where the file does not say."""
    weight_bytes: int
    """Of the constants that it is the first to read, as they are stored."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What some unit of the device is known not to take, and where that is said."""

    unit: str
    """Such as ``Neural Engine``."""
    reason: str
    layers: tuple[str, ...]
    """Names of layers, or of inputs."""
    source: str
    """An address."""


class Composition(msgspec.Struct, frozen=True, kw_only=True):
    """All layers in the file's order, and what is to be said of some."""

    layers: tuple[Layer, ...]
    remarks: tuple[Remark, ...] = ()


@runtime_checkable
class Composed(Protocol):
    """A target that can say what its files are made of."""

    def composition(self, artifact: Artifact, folder: Path) -> Composition:
        """What the artifact whose files stand below `folder` is made of.

        Raises:
            TargetError: the file is damaged.
        """
        ...
