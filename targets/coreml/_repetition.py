"""Loops and branches that stay so in the program: MIL's ``while_loop`` and ``cond`` around blocks of their own.

The functions that fill a block may be called several times: MIL builds a loop anew when it learns that a value, or a
shape, does not stay what it is at the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from targets.coreml import _arithmetic as a
from targets.coreml._emission import Value
from targets.coreml._registry import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from targets.coreml._emission import Emission

    Body = Callable[[Value, Sequence[Value]], Sequence[Value]]
    """Called with the turn's number and the state; gives the next state."""


def repeated(
    g: Emission, turns: Value | None, state: Sequence[Value], body: Body, *, guarded: bool = False
) -> list[Value]:
    """The state after as many turns of the body, or endless ones if None.

    With `guarded` the first of the state is a boolean, and no further turn begins once it is false.
    """
    counter = g.constant(np.array(0, np.int64))
    start = [counter, *state]

    def entered(variables: Sequence[Any]) -> list[Value]:
        return [Value(value.dtype, variable) for value, variable in zip(start, variables, strict=True)]

    def goes_on(*variables: Any) -> Any:  # noqa: ANN401 - MIL's variables
        values = entered(variables)
        if turns is None:
            return g.inside(values[1])
        more = a.less(g, values[0], turns)
        return g.inside(a.both(g, more, values[1]) if guarded else more)

    def turn(*variables: Any) -> list[Any]:  # noqa: ANN401 - likewise
        values = entered(variables)
        following = [a.add(g, values[0], 1), *body(values[0], values[1:])]
        for before, after in zip(values, following, strict=True):
            if (before.sizes, before.dtype) != (after.sizes, after.dtype):
                raise UnsupportedError(
                    f"a state changes from {before.dtype}{list(before.sizes)} to {after.dtype}{list(after.sizes)}"
                )
        return [g.inside(value) for value in following]

    ends = g.loop([g.variable(value) for value in start], goes_on, turn)
    return [g.made(end, value.dtype) for end, value in zip(ends[1:], state, strict=True)]


def chosen(g: Emission, condition: Value, branches: Sequence[Callable[[], Sequence[Value]]]) -> list[Value]:
    """What the first of two branches gives where the condition holds, else the second.

    Raises:
        UnsupportedError: their values differ in shape or type.
    """
    results: list[list[Value]] = [[], []]

    def branch(place: int) -> Callable[[], list[Any]]:
        def fill() -> list[Any]:
            results[place] = list(branches[place]())
            return [g.inside(value) for value in results[place]]

        return fill

    ends = g.branch(g.variable(condition), branch(0), branch(1))
    for yes, no in zip(*results, strict=True):
        if (yes.sizes, yes.dtype) != (no.sizes, no.dtype):
            raise UnsupportedError(
                f"its branches give {yes.dtype}{list(yes.sizes)} and {no.dtype}{list(no.sizes)}: expected the same"
            )
    return [g.made(end, value.dtype) for end, value in zip(ends, results[0], strict=True)]
