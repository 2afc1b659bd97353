"""How long a file takes, estimated from what it computes and what XNNPACK takes of it: the same each time."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from targets.edge_arm._recipe import PRODUCTS
from targets.edge_arm._resources import taken_operations

_TAKEN = {"float": 1.0, "integers": 0.3, "mixed": 0.32}
"""Time of a multiplication in XNNPACK against float's, by what it multiplies."""
_LEFT = {"float": 3.0, "integers": 3.0, "mixed": 12.0}
"""Likewise in LiteRT's own kernels."""
_ELEMENT, _LEFT_ELEMENT = 1.0, 40.0
"""Time of an element of any other operation, in XNNPACK and in LiteRT's own kernels, in multiplications of float."""


class _Work(NamedTuple):
    """What one operation does."""

    is_taken: bool
    kind: str
    multiplications: float
    elements: float


def estimate(data: bytes) -> float:
    """The time of one call of a file, in multiplications of float by XNNPACK.

    The constants are fitted to real models on x86-64; on Arm the order of schemes is the same, the distances are not.
    """
    total = 0.0
    for work in _works(data):
        if work.multiplications:
            total += (_TAKEN if work.is_taken else _LEFT)[work.kind] * work.multiplications
        else:
            total += (_ELEMENT if work.is_taken else _LEFT_ELEMENT) * work.elements
    return total


def _works(data: bytes) -> list[_Work]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    taken, own = taken_operations(interpreter)
    tensors = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    return [_work(entry, tensors, is_taken=number in taken) for number, entry in enumerate(own)]


def _work(entry: dict[str, Any], tensors: dict[int, dict[str, Any]], *, is_taken: bool) -> _Work:
    made: list[int] = list(tensors[int(entry["outputs"][0])]["shape"]) if len(entry["outputs"]) else []
    elements = float(prod(int(size) for size in made))
    if entry["op_name"] not in PRODUCTS:
        return _Work(is_taken, "", 0.0, elements)
    given, weights = (tensors[int(place)] for place in entry["inputs"][:2])
    is_float = [np.dtype(tensor["dtype"]).kind == "f" for tensor in (given, weights)]
    kind = "float" if all(is_float) else "mixed" if any(is_float) else "integers"
    channels = max(int(made[-1]) if made else 1, 1)
    return _Work(is_taken, kind, elements * prod(int(size) for size in weights["shape"]) / channels, elements)
