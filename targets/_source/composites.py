"""Nodes that together compute what ONNX has one operator for, put together again.

Exporters write Gelu by its parts for operator sets before 20: x / 2 * (1 + erf(x / sqrt 2)), or its approximation
x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016).
"""

from __future__ import annotations

from dataclasses import replace
from math import isclose, pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

import onnx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targets._source.model import Node, Source

_CUBE = 0.044715
_CLOSE = 1e-4
_VERSION = 20
"""Of Gelu, the first."""


def joined(source: Source) -> Source:
    """The source with each Gelu that is written by its parts as one node."""
    kinds = {node.operator for node in source.nodes}
    if not kinds & {"Erf", "Tanh"} or "Mul" not in kinds:
        return source
    search = _Search(source)
    found: dict[int, Node] = {}
    gone: set[int] = set()
    for node in source.nodes:
        if node.operator == "Mul" and not node.domain:
            match = search.gelu(node)
            if match is not None:
                found[id(node)] = _gelu(node, match)
                gone |= {id(part) for part in match.parts} - {id(node)}
    nodes = tuple(found.get(id(node), node) for node in source.nodes if id(node) not in gone)
    return replace(source, nodes=nodes)


class _Match(NamedTuple):
    x: str
    approximate: str
    parts: list[Node]


def _gelu(last: Node, match: _Match) -> Node:
    proto = onnx.helper.make_node("Gelu", [match.x], last.outputs, last.name, approximate=match.approximate)
    return replace(
        last,
        operator="Gelu",
        version=_VERSION,
        inputs=(match.x,),
        attributes={"approximate": match.approximate.encode()},
        proto=proto,
    )


class _Search:
    """Looks through the nodes from their results back."""

    def __init__(self, source: Source) -> None:
        self._constants = source.constants
        self._makers = {name: node for node in source.nodes for name in node.outputs}
        self._uses: dict[str, int] = {}
        for name in (*(name for node in source.nodes for name in node.inputs), *source.outputs):
            self._uses[name] = self._uses.get(name, 0) + 1

    def gelu(self, last: Node) -> _Match | None:
        """What the product that the node ends is the Gelu of; None if it is something else."""
        factor, names, parts = self._product(last)
        if len(names) != 2 or not isclose(factor, 0.5, rel_tol=_CLOSE):  # noqa: PLR2004 - x, and one more the curve
            return None
        for x, raised in (names, names[::-1]):
            for operand in self._plus(raised, 1.0, parts):
                curve = self._inner(operand)
                if curve is None or curve.operator not in {"Erf", "Tanh"}:
                    continue
                parts.append(curve)
                is_exact = curve.operator == "Erf"
                if (
                    self._is_scaled(curve.inputs[0], x, parts)
                    if is_exact
                    else self._is_cubic(curve.inputs[0], x, parts)
                ):
                    return _Match(x, "none" if is_exact else "tanh", parts)
        return None

    def _number(self, name: str) -> float | None:
        array = self._constants.get(name)
        return (
            float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind == "f" else None
        )

    def _inner(self, name: str) -> Node | None:
        """The node of ONNX's own that makes what only one other reads."""
        node = self._makers.get(name)
        return node if node is not None and self._uses[name] == 1 and not node.domain else None

    def _product(self, node: Node) -> tuple[float, list[str], list[Node]]:
        """The constant factor of a tree of products, its other factors, and its nodes."""
        factor, names, parts = 1.0, list[str](), [node]
        for place, name in enumerate(node.inputs):
            number, inner = self._number(name), self._inner(name)
            if number is not None and (number or node.operator == "Mul"):
                factor *= 1 / number if node.operator == "Div" and place else number
            elif inner is not None and (inner.operator == "Mul" or self._is_divided(inner)):
                further = self._product(inner)
                factor, names, parts = factor * further[0], names + further[1], parts + further[2]
            else:
                names.append(name)
        return factor, names, parts

    def _is_divided(self, node: Node) -> bool:
        """Whether it divides by a number."""
        return node.operator == "Div" and bool(self._number(node.inputs[1])) and self._number(node.inputs[0]) is None

    def _plus(self, name: str, number: float, parts: list[Node]) -> Iterator[str]:
        """The other operand of a sum with that number."""
        node = self._inner(name)
        if node is None or node.operator != "Add":
            return
        for operand, constant in (node.inputs, node.inputs[::-1]):
            found = self._number(constant)
            if found is not None and isclose(found, number, rel_tol=_CLOSE):
                parts.append(node)
                yield operand

    def _is_scaled(self, name: str, x: str, parts: list[Node]) -> bool:
        """Whether it is x / sqrt 2."""
        node = self._inner(name)
        if node is None or not (node.operator == "Mul" or self._is_divided(node)):
            return False
        factor, names, further = self._product(node)
        parts.extend(further)
        return names == [x] and isclose(factor, sqrt(0.5), rel_tol=_CLOSE)

    def _is_cubic(self, name: str, x: str, parts: list[Node]) -> bool:
        """Whether it is sqrt(2 / pi) * (x + 0.044715 x^3)."""
        node = self._inner(name)
        if node is None or node.operator != "Mul":
            return False
        factor, names, further = self._product(node)
        parts.extend(further)
        if not isclose(factor, sqrt(2 / pi), rel_tol=_CLOSE) or len(names) != 1:
            return False
        total = self._inner(names[0])
        if total is None or total.operator != "Add" or x not in total.inputs:
            return False
        parts.append(total)
        (cubed,) = [other for other in total.inputs if other != x] or [""]
        return self._is_cube(cubed, x, parts)

    def _is_cube(self, name: str, x: str, parts: list[Node]) -> bool:
        """Whether it is 0.044715 x^3."""
        node = self._inner(name)
        if node is None or node.operator != "Mul":
            return False
        factor, names, further = self._product(node)
        parts.extend(further)
        if not isclose(factor, _CUBE, rel_tol=_CLOSE):
            return False
        if names == [x] * 3:
            return True
        power = self._inner(names[0]) if len(names) == 1 else None
        if power is None or power.operator != "Pow" or power.inputs[0] != x or self._number(power.inputs[1]) != 3:  # noqa: PLR2004 - the cube
            return False
        parts.append(power)
        return True
