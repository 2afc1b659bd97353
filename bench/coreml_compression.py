"""Real models with their weights compressed: size of the package, and how far its outputs move.

    python -m bench.coreml_compression [PATTERN]

The error is the root mean square of the difference in an output from the uncompressed package's, over that of the
output, by the evaluator, on the inputs of the other tables. Writes bench/results/coreml-compression.json.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.edge import inputs, shaped
from bench.measure import write_results
from bench.real_models import MODELS, fetched

if TYPE_CHECKING:
    from bench.real_models import RealModel

NAMES = ("YOLOv8n", "magika", "BlazeFace front")
METHODS = ("none", "int8", "palettize-8", "palettize-6", "palettize-4", "prune-30", "auto at 1%", "auto at 5%")
CALLS = 2


def main(pattern: str) -> None:
    """Print the table and write it."""
    rows: dict[str, dict[str, object]] = {}
    for model in MODELS:
        if model.name in NAMES and re.search(pattern, model.name):
            for method in METHODS:
                row = rows[f"{model.name}, {method}"] = measured(model, method)
                print(
                    f"{model.name:20} {method:12} {row['megabytes']:6.2f} MB {row['error']:8.2%} "
                    f"{row['choice_seconds']:6.1f} s",
                    flush=True,
                )
    if not pattern:
        write_results("coreml-compression", rows, ["coremltools", "numpy"])


def measured(model: RealModel, method: str) -> dict[str, float]:
    """One row of the table."""
    import onnx

    from targets.coreml import Options
    from targets.coreml._compression import chosen, output_error
    from targets.coreml._convert import lowered_model, write_model
    from targets.coreml.evaluator import load_program

    bound = shaped(onnx.load(fetched(model)), model)
    options = msgspec.convert({"precision": "float16"}, Options)
    with tempfile.TemporaryDirectory() as name:
        plain, small = Path(name) / "plain", Path(name) / "small"
        before = load_program(write_model(lowered_model(bound, options), options, plain))
        calls = [
            dict(zip((each.name for each in before.inputs), inputs(bound, model, seed).values(), strict=True))
            for seed in range(CALLS)
        ]
        calls = [{each.name: each.checked(call[each.name]) for each in before.inputs} for call in calls]
        began = time.perf_counter()
        limit = method.removeprefix("auto at ").removesuffix("%")
        methods = chosen(before, calls, float(limit) / 100) if limit != method else method
        seconds = time.perf_counter() - began
        package = write_model(lowered_model(bound, options), options, small, (), methods)
        return {
            "megabytes": sum(file.stat().st_size for file in package.rglob("*") if file.is_file()) / 1e6,
            "error": output_error(load_program(package), calls, [before.predict(call) for call in calls]),
            "choice_seconds": seconds,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pattern", nargs="?", default="")
    main(parser.parse_args().pattern)
