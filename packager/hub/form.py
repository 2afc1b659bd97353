"""The normal form that a target asks for, and what a pass is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from targets._target import Needs

if TYPE_CHECKING:
    import onnx


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a prepared model must be."""

    needs: Needs
    free_dimensions: dict[str, int]
    """The value of each free dimension by name, ``*`` for all others; used where `needs.static_shapes` holds."""


class Pass(Protocol):
    """One step towards the normal form: a module of this package."""

    def requires(self, form: Form) -> bool:
        """Whether the form asks for this pass."""
        ...

    def run(self, model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
        """The model after the pass; the given one may be changed.

        Raises:
            ConversionError: it can't be done.
        """
        ...

    def ensures(self, model: onnx.ModelProto, form: Form) -> list[str]:
        """What does not hold of what the pass promises; empty: all does."""
        ...
