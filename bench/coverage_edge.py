"""How many of ONNX's operator cases edge-arm passes, and every one that it does not, with the reason.

    python -m bench.coverage_edge [PATTERN]

With a pattern, only the cases whose names match it. Without one, writes bench/results/coverage-edge.json and the
reference page.
"""

from __future__ import annotations

import sys

from bench.operator_coverage import Measured, cover
from tests.targets.edge_arm.reference_page import PAGE, rendered
from tests.targets.edge_arm.verdict import verdict

if __name__ == "__main__":
    measured = Measured("coverage-edge", PAGE, rendered, verdict, ["onnx", "ai-edge-litert", "numpy"])
    sys.exit(cover(measured, sys.argv[1] if len(sys.argv) > 1 else ""))
