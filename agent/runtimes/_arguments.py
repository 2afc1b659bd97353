"""The check of a call's inputs against what the opened file declares; both runtimes refuse with the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Declared(msgspec.Struct, frozen=True):
    """One input as the opened file declares it."""

    name: str
    dtype: str
    """As numpy names it."""
    shape: tuple[int | str, ...]
    """A number for a fixed dimension, a name for one that is free."""


def checked_inputs(
    declared: Sequence[Declared], inputs: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """The inputs as arrays in C order, once each is seen to be what the file declares.

    Nothing is cast: a silent cast would hide that the application and the model disagree.

    Raises:
        ValueError: an input is missing, unknown, or of the wrong dtype or shape; the message names it.
    """
    names = [entry.name for entry in declared]
    for name in inputs:
        if name not in names:
            raise ValueError(f"input '{name}' is not one of the model's: expected {', '.join(names)}")
    checked: dict[str, NDArray[np.generic]] = {}
    for entry in declared:
        if entry.name not in inputs:
            raise ValueError(f"input '{entry.name}' is missing: got {', '.join(inputs) or 'none'}")
        array = np.asarray(inputs[entry.name])
        kind = "string" if array.dtype.kind in "UO" else array.dtype.name
        if kind != entry.dtype:
            raise ValueError(f"dtype of input '{entry.name}' does not match: expected {entry.dtype}, got {kind}")
        _check_shape(entry, array.shape)
        checked[entry.name] = np.asarray(array, order="C")
    return checked


def _check_shape(entry: Declared, shape: tuple[int, ...]) -> None:
    same_rank = len(shape) == len(entry.shape)
    if same_rank and all(isinstance(want, str) or want == got for want, got in zip(entry.shape, shape, strict=True)):
        return
    expected = "[" + ", ".join(map(str, entry.shape)) + "]"
    raise ValueError(f"shape of input '{entry.name}' does not match: expected {expected}, got {list(shape)}")
