"""A camera that looks at digits: what its contrast, noise and shift make of clean 8x8 images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WHITE = 16.0
"""Largest pixel value of scikit-learn's digits."""


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the camera; the defaults leave an image as it is."""

    contrast: float = 1.0
    noise: float = 0.0
    """Standard deviation of the pixels' noise, in pixel values."""
    shift: int = 0
    """Pixels to the right."""

    def take(self, images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """What the camera sees of `images`, shape (n, 64)."""
        seen = np.roll(images.reshape(-1, 8, 8), self.shift, axis=2)
        seen = seen * self.contrast + 0.4 * WHITE * (1 - self.contrast)
        seen = seen + rng.normal(0.0, self.noise, seen.shape)
        return np.clip(seen, 0.0, WHITE).astype(np.float32).reshape(-1, 64)


def read_camera(path: Path) -> Camera:
    """The settings in a JSON file."""
    return msgspec.json.decode(path.read_bytes(), type=Camera)
