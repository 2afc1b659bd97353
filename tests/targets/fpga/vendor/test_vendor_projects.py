"""Projects for the vendors' compilers: emulated beside onnxruntime, and synthesised by fakes of the compilers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from packager import worker
from packager.config import worker_environment
from packager.toolchains.choice import find_toolchain
from targets.fpga._vendor.precision import fixed_type
from targets.fpga._vendor.vendors import COMPILERS, find_compiler

HERE = Path(__file__).parent
FAKES = {"vitis": "vitis-run", "quartus": "i++", "oneapi": "icpx", "catapult": "catapult", "libero": "shls"}
REQUIRED = {"synthesis": "require", "emulated": False}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{f"dense-{vendor}": ("dense", vendor, {"synthesis": "never"}) for vendor in COMPILERS},
    "again": ("dense", "quartus", {"synthesis": "never", "emulated": False}),
    "convolution-quartus": ("convolution", "quartus", {"synthesis": "never"}),
    "convolution-oneapi": ("convolution", "oneapi", {"synthesis": "never", "io": "stream"}),
    "softmax": ("dense", "vitis", {"synthesis": "never", "softmax": "device", "precision": "fixed<16,6>"}),
    "narrow": ("convolution", "quartus", {"synthesis": "never", "precision": "fixed<8,3>"}),
    "uncalibrated": ("dense", "vitis", {"calibrated": False}),
    "unknown": ("erf", "vitis", {}),
    "libero-convolution": ("convolution", "libero", {}),
    "libero-stream": ("dense", "libero", {"io": "stream"}),
}
SYNTHESISED = {vendor: ("dense", vendor, REQUIRED) for vendor in COMPILERS}


@pytest.fixture(scope="session")
def compilers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fakes, each by the name of a vendor's compiler."""
    folder = tmp_path_factory.mktemp("fakes")
    for vendor, name in {**FAKES, "cmake": "cmake"}.items():
        script = f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fake_compilers.py"}" {vendor} "$@"\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def run_cases(
    cases: dict[str, tuple[str, str, dict[str, Any]]], folder: Path, compilers: Path | None = None, **said: str
) -> dict[str, dict[str, Any]]:
    """What became of each case; the vendors' compilers are the fakes, and say what `said` tells them."""
    environment = find_toolchain("hls4ml")
    if environment is None:
        pytest.skip("the toolchain is not here: pack toolchain install hls4ml")
    links = worker._own_packages(folder)
    surroundings = worker_environment() | {"PYTHONPATH": str(links)} | said
    if compilers is not None:
        surroundings |= {"PATH": f"{compilers}{os.pathsep}{os.environ['PATH']}", "FAKE_ICPX": str(compilers / "icpx")}
    command = [environment.interpreter, HERE / "inside" / "projects.py", json.dumps(cases), folder]
    ran = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-5000:]
    found: dict[str, dict[str, Any]] = json.loads((folder / "outcomes.json").read_text())
    return found


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return run_cases(CASES, tmp_path_factory.mktemp("projects"))


@pytest.mark.slow
@pytest.mark.parametrize("vendor", COMPILERS)
def test_the_emulated_project_of_each_vendor_is_the_source_in_fixed_point(
    outcomes: dict[str, dict[str, Any]], vendor: str
) -> None:
    found = outcomes[f"dense-{vendor}"]
    assert found["error"] < 1e-3
    assert found["agreed"] == 1.0
    assert "the host computes Softmax" in found["notes"]


def test_the_vendors_number_types_agree_to_the_last_bit(outcomes: dict[str, dict[str, Any]]) -> None:
    assert len({outcomes[f"dense-{vendor}"]["error"] for vendor in COMPILERS}) == 1


@pytest.mark.parametrize("case", ["convolution-quartus", "convolution-oneapi"])
def test_convolutions_get_channels_last_and_their_normalization_in_their_weights(
    outcomes: dict[str, dict[str, Any]], case: str
) -> None:
    assert outcomes[case]["error"] < 1e-3
    assert "the project takes channels last" in outcomes[case]["notes"]


def test_what_is_not_synthesised_says_so_and_claims_no_more(outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes["dense-vitis"]
    assert found["notes"][-1] == "project emitted, not synthesised"
    assert found["report"] is None
    assert found["fpga"] is None
    assert set(found["files"]) == {"project.tar", "model.json"}


def test_the_same_model_makes_the_same_bytes(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["again"]["files"] == outcomes["dense-quartus"]["files"]


def test_the_emulation_shows_that_a_softmax_of_default_widths_is_nonsense(outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes["softmax"]
    assert found["error"] > found["limit"]


def test_the_emulation_shows_what_too_narrow_a_type_loses(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["narrow"]["error"] > outcomes["narrow"]["limit"]


def test_types_are_not_guessed_without_calibration_data(outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes["uncalibrated"]
    assert found["code"] == "fpga.vendor.calibration"
    assert "precision" in found["hint"]


def test_layers_that_hls4ml_would_leave_out_are_refused_by_name(outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes["libero-convolution"]
    assert found["code"] == "fpga.vendor.layers"
    assert "Conv2D_Conv_0 (Conv2D)" in found["message"]
    assert "MaxPool_0 (Pooling2D)" in found["message"]


def test_an_operator_that_hls4ml_does_not_read_is_refused(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["unknown"]["code"] == "fpga.vendor.project"
    assert "Erf" in outcomes["unknown"]["message"]


def test_a_way_of_writing_that_is_broken_for_a_vendor_is_refused(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["libero-stream"]["code"] == "fpga.vendor.io"


def test_each_vendors_report_is_read_into_one_form(tmp_path: Path, compilers: Path) -> None:
    found = run_cases(
        {vendor: ("dense", vendor, {"synthesis": "require"}) for vendor in ("vitis", "quartus")}
        | {vendor: ("dense", vendor, REQUIRED) for vendor in ("oneapi", "catapult", "libero")},
        tmp_path,
        compilers,
    )
    for vendor, outcome in found.items():
        assert "250.0 MHz of 200 MHz" in outcome["notes"][-1], (vendor, outcome)
        assert "5120 " in outcome["notes"][-1]
        assert outcome["notes"][-1].startswith(f"{COMPILERS[vendor].title} 2024.2 says")
        assert outcome["fpga"]["basis"] == "synthesised"
        assert outcome["fpga"]["clock_mhz"] == 250.0
        assert 5120 in outcome["fpga"]["cells"].values()
        assert outcome["fpga"]["tools"][COMPILERS[vendor].title] == "2024.2"
    report = found["vitis"]["report"]
    assert report["used"]["lut"] == 5120
    assert report["available"]["lut"] == 40000
    assert report["latency_cycles"] == 12
    assert found["quartus"]["report"]["available"]["alut"] == 40000


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ({"FAKE_MHZ": "150"}, "fpga.vendor.timing", "150.0 MHz, expected 200 MHz"),
        ({"FAKE_LOGIC": "50000"}, "fpga.vendor.resources", "50000"),
        ({"FAKE_ENDING": "fails"}, "fpga.vendor.synthesis", "synthesis failed"),
        ({"FAKE_ENDING": "silent"}, "fpga.vendor.report", "can't be read"),
        ({"FAKE_ENDING": "garbled"}, "fpga.vendor.report", "can't be read"),
    ],
)
def test_a_compiler_that_does_not_deliver_is_refused(
    tmp_path: Path, compilers: Path, said: dict[str, str], code: str, words: str
) -> None:
    vendors = ("vitis", "oneapi", "libero") if "FAKE_MHZ" in said else COMPILERS
    found = run_cases({vendor: SYNTHESISED[vendor] for vendor in vendors}, tmp_path, compilers, **said)
    for vendor, outcome in found.items():
        if vendor == "catapult" and code == "fpga.vendor.resources":
            continue  # its report does not say how much the device has
        assert outcome.get("code") == code, (vendor, outcome)
        assert words in outcome["message"], (vendor, outcome)


def test_a_required_compiler_that_is_not_here_is_named(tmp_path: Path) -> None:
    missing = [vendor for vendor in COMPILERS if find_compiler(COMPILERS[vendor]) is None]
    found = run_cases({vendor: SYNTHESISED[vendor] for vendor in missing}, tmp_path)
    for vendor, outcome in found.items():
        assert outcome["code"] == "fpga.vendor.missing"
        assert COMPILERS[vendor].executables[0] in outcome["message"]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (-1.0, 0.5, "fixed<8,2,RND,SAT>"),
        (0.0, 0.99, "fixed<8,1,RND,SAT>"),
        (-3.0, 7.9, "fixed<8,4,RND,SAT>"),
        (0.0, 0.0, "fixed<8,-6,RND,SAT>"),
    ],
)
def test_a_type_holds_the_largest_value_seen(low: float, high: float, wanted: str) -> None:
    assert fixed_type(low, high, 8) == wanted
