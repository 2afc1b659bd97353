"""How many of ONNX's operator cases coreml passes, and every one that it does not, with the reason.

    python -m bench.coverage_coreml [PATTERN]

With a pattern, only the cases whose names match it. Without one, writes bench/results/coverage-coreml.json and the
reference page.
"""

from __future__ import annotations

import sys

from bench.operator_coverage import Measured, cover
from tests.targets.coreml.reference_page import PAGE, rendered
from tests.targets.coreml.verdict import verdict

if __name__ == "__main__":
    measured = Measured("coverage-coreml", PAGE, rendered, verdict, ["onnx", "coremltools", "numpy"])
    sys.exit(cover(measured, sys.argv[1] if len(sys.argv) > 1 else ""))
