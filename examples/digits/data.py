"""The digits data, split once and for all: what is trained on, what gates use, and what the cameras see."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Images(NamedTuple):
    """Images of shape (n, 64) with pixel values from 0 to 16, and their digits."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


class Split(NamedTuple):
    """Three parts that share no image."""

    training: Images
    evaluation: Images
    field: Images
    """Held back for the applications on the devices."""


def load_split() -> Split:
    """The real digits of scikit-learn (1,797 images), in fixed parts of 50, 25 and 25 percent."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
    x_eval, x_field, y_eval, y_field = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest)
    return Split(Images(x_train, y_train), Images(x_eval, y_eval), Images(x_field, y_field))


def join(first: Images, second: Images) -> Images:
    """All images of both."""
    return Images(np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y]))
