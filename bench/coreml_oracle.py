"""Apple's own tests of its converter, run against our evaluator: what agrees, and why the rest does not.

Needs torch or TensorFlow, and coremltools, in the interpreter that runs it: see `make oracle-coreml`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TypedDict

ROOM = Path(__file__).parents[1]
RESULT = ROOM / "bench" / "results" / "coreml-oracle.json"
SUITES = {
    "MIL operators": "coremltools.converters.mil.mil.ops.tests",
    "torch operators": "coremltools.converters.mil.frontend.torch.test.test_torch_ops",
    "TensorFlow operators": "coremltools.converters.mil.frontend.tensorflow.test.test_ops",
    "TensorFlow 2 operators": "coremltools.converters.mil.frontend.tensorflow2.test.test_v2_ops",
}
_REASONS = {
    "EvaluationError": "refused by the evaluator",
    "AssertionError": "other values than Apple's test expects",
    "DID NOT RAISE": "an error of Core ML that Apple's test expects, and that does not come from a program",
}

_EXPLAINED = (
    (r"test_ios17_invalid_indices", "it expects Core ML's words for an index that is outside"),
    (
        r"TestNormalizationLocalResponseNorm::test_builder_to_backend_smoke",
        "it contradicts the formula and its sibling",
    ),
    (r"TestCropResize::test_builder_to_backend_smoke", "its box ends before it starts, which no formula covers"),
    (r"TestCropResize::test_builder_to_backend_ios1[67]", "it expects 7.899 where its own numbers give 7.9"),
    (r"TestResample::test_builder_to_backend_smoke\b.*fp32", "it counts casts that float32 does not need"),
    (r"test_lstm\[.*LSTM_batch_first", "its converter gives the first state another batch than the input has"),
    (r"float16|fp16", "its tensors are float16, and its tolerance is that of float32"),
)
"""Why single tests of Apple's can't agree, by what stands in their names."""


class Outcome(TypedDict):
    """As the plugin writes it."""

    test: str
    verdict: str
    reason: str
    evaluated: bool


def main(suites: list[str], cases: int) -> int:
    """Run the suites, and write the report over what it had of them."""
    for suite in suites:
        report(suite, _outcomes(SUITES[suite], cases))
    return 0


def report(suite: str, outcomes: list[Outcome]) -> None:
    """Write what became of the suite's cases, and print it."""
    verdicts = Counter(each["verdict"] for each in outcomes)
    failed = [each for each in outcomes if each["verdict"] == "failed"]
    # Read only now: another environment may have added its suites meanwhile.
    document = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    document[suite] = {
        "cases": len(outcomes),
        "evaluated": sum(each["evaluated"] for each in outcomes),
        "agree": sum(each["evaluated"] and each["verdict"] == "passed" for each in outcomes),
        **dict(sorted(verdicts.items())),
        "failures": [
            {"test": each["test"], "why": why(each["test"], each["reason"]), "reason": each["reason"]}
            for each in failed
        ],
    }
    print(f"{suite}: {document[suite]['agree']} of {document[suite]['evaluated']} evaluated cases agree")
    for said, count in Counter(why(each["test"], each["reason"]) for each in failed).most_common():
        print(f"  {count} {said}")
    RESULT.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def why(test: str, reason: str) -> str:
    """What kept a test from agreeing."""
    general = next((why for word, why in _REASONS.items() if word in reason), "failed before anything was evaluated")
    if general not in _REASONS.values():
        return general
    return next((why for pattern, why in _EXPLAINED if re.search(pattern, test)), general)


def _outcomes(module: str, cases: int) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcomes.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOM),
            "PYMIL_TEST_TARGETS": "mlprogram",
            "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
            "ORACLE_CASES": str(cases),
            "ORACLE_REPORT": str(out),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.targets.coreml.oracle.as_core_ml"]
        options = ["-p", "no:cacheprovider", "-W", "ignore", "--tb=line", "--pyargs", module]
        subprocess.run([*command, *options], cwd=folder, env=environment, check=False, stdout=subprocess.DEVNULL)
        found: list[Outcome] = json.loads(out.read_text())
        return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("suites", nargs="*", default=list(SUITES))
    parser.add_argument("--cases", type=int, default=2, help="how many of each test function; 0 for all")
    arguments = parser.parse_args()
    sys.exit(main(arguments.suites, arguments.cases))
