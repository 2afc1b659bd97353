"""What importers of networks have in common: how a framework is asked for its predictions, how a batch is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.measures.running import call_size, run_all
from packager.signatures import model_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx

    from packager.importers._importer import Arrays
    from packager.measures.running import Array

BATCH = "N"
"""The name of a free first dimension."""


def framework_predictor(
    model: onnx.ModelProto, call: Callable[[Arrays], Mapping[str, Any]]
) -> Callable[[Arrays], Arrays]:
    """What gives the framework's outputs on any number of samples: `call` takes as many as the model does at once."""
    import numpy as np

    class _Framework:
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            return {name: np.asarray(value) for name, value in call(dict(inputs)).items()}

    size = call_size(model_signature(model))
    return lambda inputs: run_all(_Framework(), inputs, size)


def first_line(error: Exception) -> str:
    """What an error says, in one line of at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
