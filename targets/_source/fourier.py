"""Fourier transforms as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def transform_matrix(have: int, parts: int, size: int, *, inverse: bool, onesided: bool) -> NDArray[np.float32]:
    """What each input adds to each output, [bins, real and imaginary, places, parts]: numpy's answer to unit inputs."""
    units = np.eye(have * parts).reshape(have * parts, have, parts)
    signal = units[..., 0] + (1j * units[..., 1] if parts > 1 else 0)
    if inverse and onesided:
        spectrum = np.fft.irfft(signal, n=size, axis=1)[..., None]
    else:
        full = (np.fft.ifft if inverse else np.fft.fft)(signal, n=size, axis=1)
        full = full[:, : size // 2 + 1] if onesided else full
        spectrum = np.stack([full.real, full.imag], axis=-1)
    return np.ascontiguousarray(np.moveaxis(spectrum, 0, -1).reshape(*spectrum.shape[1:], have, parts), np.float32)
