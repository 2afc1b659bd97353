"""What an ensemble's leaves add up to, and how onnxruntime makes its output of that.

Of two classes onnxruntime has rules of its own: where the leaves speak of one class alone, the other's score follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.runtimes._fixed.host import Affine, Sigmoid, Softmax
from targets._source.refusal import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.runtimes._fixed.host import After
    from targets.fpga._trees.ensemble import Ensemble

_TWO = 2
_STEPS: dict[str, tuple[After, ...]] = {"NONE": (), "LOGISTIC": (Sigmoid(),), "SOFTMAX": (Softmax(),)}


class Scores(NamedTuple):
    """Sums of leaves, and the host's steps after them."""

    leaves: NDArray[np.float64]
    """(leaves, scores): as the FPGA adds them up."""
    bias: NDArray[np.float64]
    """(scores)."""
    after: tuple[After, ...]


def scores_of(ensemble: Ensemble, classes: int) -> Scores:
    """The scores of an ensemble; `classes` is 0 where it is no classifier.

    Raises:
        UnsupportedError: its aggregate or transformation has no hardware, or onnxruntime is not clear about it.
    """
    if ensemble.transform not in _STEPS:
        raise UnsupportedError(f"its post_transform is {ensemble.transform}: expected one of {', '.join(_STEPS)}")
    if ensemble.aggregate not in {"SUM", "AVERAGE"}:
        raise UnsupportedError(f"its aggregate_function is {ensemble.aggregate}: expected SUM or AVERAGE")
    leaves = ensemble.leaves / len(ensemble.roots) if ensemble.aggregate == "AVERAGE" else ensemble.leaves
    targets = leaves.shape[1]
    seen = ensemble.given.any(axis=0)
    if classes == _TWO and seen.sum() == 1:
        return _one_score(ensemble, leaves, int(np.flatnonzero(seen)[0]))
    if classes == _TWO and len(ensemble.base):
        raise UnsupportedError("two classes with weights and base values of their own: onnxruntime leaves one out")
    if len(ensemble.base) not in {0, targets}:
        raise UnsupportedError(f"it has {len(ensemble.base)} base values for {targets} scores")
    if classes and not len(ensemble.base):
        _demand_scores(ensemble, always=classes == _TWO)
    # onnxruntime transforms a single score of a regressor by PROBIT alone.
    after = () if targets == 1 else _STEPS[ensemble.transform]
    bias = ensemble.base if len(ensemble.base) else np.zeros(targets)
    return Scores(leaves, bias, after)


def _one_score(ensemble: Ensemble, leaves: NDArray[np.float64], only: int) -> Scores:
    """Two classes, weights for one of them alone."""
    if len(ensemble.base) == _TWO:
        raise UnsupportedError("it has two base values for the weights of one class")
    bias = ensemble.base if len(ensemble.base) and only == 0 else np.zeros(1)
    positive = bool((ensemble.leaves[ensemble.given] >= 0).all())
    if only == 1:
        scale, offset = 0.0, 0.0
    elif ensemble.transform == "LOGISTIC" or not positive:
        scale, offset = -1.0, 0.0
    else:
        scale, offset = -1.0, 1.0
    kind = ensemble.transform if only == 1 or ensemble.transform == "LOGISTIC" else "NONE"
    pair = Affine(scale=np.array([scale, 1.0]), offset=np.array([offset, 0.0]))
    return Scores(leaves[:, [only]], bias, (pair, *_STEPS[kind]))


def _demand_scores(ensemble: Ensemble, *, always: bool) -> None:
    """A class that no leaf speaks of has no score in onnxruntime, rather than 0: make sure that it does not matter."""
    spoken = np.zeros(ensemble.given.shape[1], dtype=bool)
    for root in ensemble.roots:
        spoken |= ensemble.given[_leaves(ensemble, root)].all(axis=0)
    if spoken.all() or (not always and (ensemble.leaves[ensemble.given] > 0).all()):
        return
    raise UnsupportedError(f"some leaves say nothing of class {int(np.flatnonzero(~spoken)[0])}")


def _leaves(ensemble: Ensemble, root: int) -> list[int]:
    found, seen, waiting = set(), set(), [root]
    while waiting:
        at = waiting.pop()
        if at < 0:
            found.add(-1 - at)
        elif at not in seen:
            seen.add(at)
            waiting += [ensemble.questions[at].yes, ensemble.questions[at].no]
    return sorted(found)
