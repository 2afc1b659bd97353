"""The target as the packager calls it: from an ONNX file to a folder whose hardware is proven."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest

from agent.runtimes._fixed.network import read_network
from targets._target import TargetError
from targets.fpga import Options, target
from targets.fpga._proof import make_vectors, prove
from targets.fpga._unrolled import unroll
from tests.targets.fpga.models import cnn, mlp, model, node, reference

if TYPE_CHECKING:
    from pathlib import Path

    from targets._target import Artifact

GENERATOR = np.random.default_rng(11)


def convert(
    made: onnx.ModelProto, folder: Path, samples: np.ndarray | None, **options: object
) -> tuple[Artifact, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(made, folder / "model.onnx")
    out = folder / "out"
    out.mkdir()
    calibration = None if samples is None else {"x": samples}
    chosen = msgspec.convert({"vectors": 12, **options}, Options)
    return target.convert(folder / "model.onnx", chosen, calibration, out), out


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Path, onnx.ModelProto, np.ndarray]:
    made = mlp((6, 8, 3), seed=1)
    samples = GENERATOR.normal(size=(80, 6)).astype(np.float32)
    artifact, out = convert(made, tmp_path_factory.mktemp("perceptron"), samples)
    return artifact, out, made, samples


def test_the_shipped_network_is_close_to_the_source(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    artifact, out, made, samples = perceptron
    runner = target.runner(artifact, out)
    got = runner.run({"x": samples})["y"]
    runner.close()
    wanted = reference(made, samples)
    assert np.sqrt(np.square(got - wanted).mean() / np.square(wanted).mean()) < artifact.parity_limit
    assert got.dtype == np.float32
    assert runner.fidelity == "emulated"


def test_the_bundle_holds_network_vectors_verilog_and_report(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    artifact, out, _, _ = perceptron
    assert [file.path for file in artifact.files] == [
        "network.json",
        "weights.npz",
        "card.md",
        "report.json",
        "rtl/arithmetic.v",
        "rtl/core.v",
        "rtl/stages.v",
        "vectors.npz",
    ]
    assert all((out / file.path).stat().st_size == file.size for file in artifact.files)


def test_its_vectors_are_those_of_the_shipped_network(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    _, out, _, _ = perceptron
    vectors = np.load(out / "vectors.npz")
    inputs = vectors["inputs"].astype(np.int64)
    assert len(inputs) == 12
    assert np.array_equal(read_network(out).run(inputs), vectors["outputs"])


def test_the_report_claims_nothing_that_was_not_done(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    artifact, out, _, _ = perceptron
    report = json.loads((out / "report.json").read_text())
    assert report["synthesis"] is None
    assert report["rtl_vectors"] == 12
    assert report["search"]["test"]["samples"] == 20
    assert report["host_after"] == ["Softmax"]
    assert any(note.startswith("not synthesised; estimate for ecp5-85k") for note in artifact.notes)


def test_the_manifest_tells_the_estimate_and_what_was_proved(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    artifact, out, _, _ = perceptron
    report = json.loads((out / "report.json").read_text())
    figures = artifact.resources.fpga
    assert figures is not None
    assert (figures.device, figures.architecture, figures.basis) == ("ecp5-85k", "unrolled", "estimate")
    assert (figures.clock_goal_mhz, figures.clock_mhz, figures.seed) == (25.0, None, None)
    assert figures.cells == {name: count for name, count in report["estimate"].items() if count}
    assert (figures.rtl_vectors, figures.netlist_vectors) == (12, 0)
    assert figures.latency_cycles == report["latency_cycles"] > 0
    assert [f"{name} {version}" for name, version in figures.tools.items()] == [report["simulator"]]


def test_the_manifest_tells_what_was_placed_and_simulated_of_it(tmp_path: Path) -> None:
    samples = GENERATOR.normal(size=(40, 3)).astype(np.float32)
    artifact, _ = convert(
        mlp((3, 2)), tmp_path, samples, device="ice40-up5k", clock_mhz=6, synthesis="placed", max_error=0.3
    )
    figures = artifact.resources.fpga
    assert figures is not None
    assert (figures.basis, figures.seed, figures.clock_goal_mhz) == ("placed", 1, 6.0)
    assert figures.clock_mhz is not None
    assert figures.clock_mhz >= figures.clock_goal_mhz
    assert figures.cells["luts"] > 0
    assert (figures.rtl_vectors, figures.netlist_vectors) == (12, 12)
    assert {"yosys", "nextpnr-ice40"} <= figures.tools.keys()


def test_the_same_model_gives_the_same_bytes(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray], tmp_path: Path
) -> None:
    artifact, _, made, samples = perceptron
    again, _ = convert(made, tmp_path, samples)
    assert again == artifact


def test_one_flipped_bit_in_the_hardware_fails_the_build(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray], tmp_path: Path
) -> None:
    _, out, _, samples = perceptron
    network = read_network(out)
    made = unroll(network, tmp_path, 6)
    vectors = make_vectors(network, samples, 12)
    assert prove(made.core, vectors, 1, "RTL").matched == 12
    top = tmp_path / "core.v"
    whole = top.read_text()
    flipped = whole.replace("assign out_data = rest[", "assign out_data = 1'b1 ^ rest[")
    assert flipped != whole
    top.write_text(flipped)
    with pytest.raises(TargetError, match=r"RTL does not match the integer model in vector 0, element 0") as caught:
        prove(made.core, vectors, 1, "RTL")
    assert caught.value.code == "fpga.mismatch"


def test_one_flipped_bit_in_the_network_fails_the_build(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray], tmp_path: Path
) -> None:
    _, out, _, samples = perceptron
    network = read_network(out)
    made = unroll(network, tmp_path, 6)
    first = network.layers[0]
    weights = first.weights.copy()  # type: ignore[union-attr]  # the first layer of a perceptron is dense
    weights[0, 0] ^= 1
    changed = msgspec.structs.replace(
        network, layers=(msgspec.structs.replace(first, weights=weights), *network.layers[1:])
    )
    with pytest.raises(TargetError, match="does not match"):
        prove(made.core, make_vectors(changed, samples, 40), 1, "RTL")


def test_vectors_hold_samples_random_codes_and_both_ends(
    perceptron: tuple[Artifact, Path, onnx.ModelProto, np.ndarray],
) -> None:
    _, out, _, samples = perceptron
    network = read_network(out)
    inputs = make_vectors(network, samples, 40).inputs
    form = network.input.format
    assert (inputs[-2] == form.low).all()
    assert (inputs[-1] == form.high).all()
    assert np.array_equal(inputs[0], network.encode(samples[:1]).reshape(-1))
    assert len(inputs) == 40


def test_a_small_residual_network_is_built(tmp_path: Path) -> None:
    samples = GENERATOR.normal(size=(40, 1, 4, 4)).astype(np.float32)
    made = cnn(side=4, channels=2, classes=2, seed=2)
    artifact, out = convert(made, tmp_path, samples, max_error=0.3, max_drop=0.1, architecture="sequential")
    report = json.loads((out / "report.json").read_text())
    assert report["architecture"] == "sequential"
    assert report["rtl_vectors"] == 12
    got = target.runner(artifact, out).run({"x": samples})["y"]
    assert (got.argmax(1) == reference(made, samples).argmax(1)).mean() > 0.8


def test_what_does_not_fit_written_out_takes_turns(tmp_path: Path) -> None:
    made = mlp((40, 120, 2), seed=1)
    samples = GENERATOR.normal(size=(40, 40)).astype(np.float32)
    artifact, out = convert(made, tmp_path, samples, device="ice40-up5k", max_error=0.5, vectors=4)
    report = json.loads((out / "report.json").read_text())
    assert report["architecture"] == "sequential"
    assert any(file.path.endswith(".hex") for file in artifact.files)


def test_what_does_not_fit_at_all_is_refused_with_the_numbers(tmp_path: Path) -> None:
    made = mlp((40, 40, 2), seed=1)
    samples = GENERATOR.normal(size=(40, 40)).astype(np.float32)
    with pytest.raises(
        TargetError, match=r"does not fit 'ice40-up5k': estimated at the least, it needs \d+ LUTs of 5280"
    ) as caught:
        convert(made, tmp_path, samples, device="ice40-up5k", max_error=0.2, architecture="unrolled")
    assert caught.value.code == "fpga.budget"


def test_without_calibration_data_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no calibration data") as caught:
        convert(mlp((3, 2)), tmp_path, None)
    assert caught.value.code == "fpga.calibration"


def test_calibration_data_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"expected \['samples', 3\], got \[5, 4\]"):
        convert(mlp((3, 2)), tmp_path, np.zeros((5, 4), np.float32))


def test_a_bitstream_without_a_board_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="a bitstream is for the pins of a board"):
        convert(mlp((3, 2)), tmp_path, np.zeros((5, 3), np.float32), synthesis="bitstream")


def test_a_board_without_the_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="board 'ulx3s' has no device 'ice40-up5k'"):
        convert(mlp((3, 2)), tmp_path, np.zeros((5, 3), np.float32), board="ulx3s", device="ice40-up5k")


def test_every_unsupported_node_is_found_before_anything_is_converted() -> None:
    made = model([node("Elu", "x", "a"), node("Erf", "a", "y")], {}, (1, 3), (1, 3))
    found = target.unsupported(made, Options())
    assert [finding.operator for finding in found] == ["Elu", "Erf"]


def test_a_vendors_tools_need_another_toolchain() -> None:
    assert target.toolchain_for(Options()).extra == "fpga"
    assert target.toolchain_for(Options(vendor="vitis")).environment == "hls4ml"
