"""A real board: every vector of the bundle, bit for bit, and how many samples go through in a second.

``FPGA_PORT=/dev/ttyUSB0 FPGA_BUNDLE=folder pytest hw_tests/fpga``, where the folder has the bundle's files and
the board its bitstream.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from agent.runtimes.fpga import open_board

PORT, BUNDLE = os.environ.get("FPGA_PORT", ""), os.environ.get("FPGA_BUNDLE", "")
pytestmark = pytest.mark.skipif(not (PORT and BUNDLE), reason="FPGA_PORT and FPGA_BUNDLE name no board and bundle")


def test_every_vector_matches_on_the_board() -> None:
    with np.load(Path(BUNDLE, "vectors.npz")) as vectors:
        inputs, outputs = vectors["inputs"].astype(np.int64), vectors["outputs"].astype(np.int64)
    board = open_board(Path(BUNDLE), PORT)
    began = time.perf_counter()
    answers = board.run_codes(inputs)
    seconds = time.perf_counter() - began
    board.close()
    np.testing.assert_array_equal(answers.reshape(outputs.shape), outputs)
    print(f"{len(inputs)} vectors in {seconds:.2f} s: {len(inputs) / seconds:.0f} a second")  # noqa: T201 - the figure
