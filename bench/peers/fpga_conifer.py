"""Scores of a tree ensemble by conifer's emulation: model.pickle and data.npz of the working folder to found.npz."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import conifer
import numpy as np


def main(precisions: list[str]) -> None:
    """One project for each precision."""
    # Written by bench/fpga_peers.py a moment ago.
    model = pickle.loads(Path("model.pickle").read_bytes())  # noqa: S301 - our own file
    x = np.load("data.npz")["x"]
    found = {}
    for place, precision in enumerate(precisions):
        settings = conifer.backends.cpp.auto_config()
        settings["Precision"], settings["OutputDir"] = precision, str(Path(f"project{place}").resolve())
        made = conifer.converters.convert_from_sklearn(model, settings)
        made.compile()
        found[f"y{place}"] = np.asarray(made.decision_function(x))
    np.savez("found.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1:])
