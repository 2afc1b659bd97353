"""What runs on the other computer: ``python calls.py MODEL GIVEN OUT COUNT`` calls a file on the samples of an npz.

Writes the outputs into OUT, and writes to standard output the milliseconds of the fastest of COUNT calls.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from agent.runtimes.litert import open_model


def main(model: Path, given: Path, out: Path, count: int) -> None:
    """Each call starts from rest."""
    with np.load(given) as samples:
        inputs = {name: samples[name] for name in samples.files}
    runtime = open_model(model, threads=1)
    times = []
    for _ in range(count):
        runtime.reset()
        began = time.perf_counter()
        outputs = runtime.run(inputs)
        times.append(time.perf_counter() - began)
    np.savez(out, **outputs)
    sys.stdout.write(f"{1e3 * min(times)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
