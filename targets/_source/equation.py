"""The equations of Einsum."""

from __future__ import annotations


def parsed_equation(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """One letter an axis for each input and for the result; axes of an ellipsis get letters of their own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spare = [chr(number) for number in range(0x100, 0x120)]
    widest = max((rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    filled = [
        term.replace("...", "".join(spare[widest - (rank - len(term) + 3) : widest]))
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if arrow:
        return filled, right.replace("...", "".join(spare[:widest]))
    every = "".join(filled)
    letters = sorted(name for name in set(every) if name not in spare and every.count(name) == 1)
    return filled, "".join([*spare[:widest], *letters])
