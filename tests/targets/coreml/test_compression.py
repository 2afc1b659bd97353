# ruff: noqa: ANN401 - coremltools has no types
"""Weights in fewer bits: what is stored is what was meant, and `auto` keeps to its limit."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets._target import TargetError
from targets.coreml import target as coreml
from targets.coreml._compression import approximated, check, chosen, compress, output_error, palette
from targets.coreml.evaluator import load_program
from tests.targets.coreml.evaluator.programs import builder, saved, target, types

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    import onnx
    from numpy.typing import NDArray

    from targets._target import Artifact

    Convert = Callable[..., tuple[Artifact, Path]]

WEIGHTS = {"first": (32, 16, 3, 3), "second": (8, 32, 3, 3)}


def weight(name: str) -> NDArray[np.float16]:
    random = np.random.default_rng(len(name))
    return (random.standard_normal(WEIGHTS[name]) * 0.1).astype(np.float16)


def two_layers(system: str) -> Any:
    mb = builder()
    spec = mb.TensorSpec(shape=(1, 16, 6, 6), dtype=types().fp16)

    @mb.program(input_specs=[spec], opset_version=target(system))
    def program(x: Any) -> Any:
        middle = mb.relu(x=mb.conv(x=x, weight=mb.const(val=weight("first"), name="first")))
        return mb.conv(x=middle, weight=mb.const(val=weight("second"), name="second"), name="y")

    return program


CALL = {"x": np.random.default_rng(1).standard_normal((1, 16, 6, 6)).astype(np.float16)}


def size(package: Path) -> int:
    return sum(path.stat().st_size for path in package.rglob("*") if path.is_file())


def built(folder: Path, methods: Any, system: str = "iOS17") -> Path:
    program = two_layers(system)
    compress(program, methods)
    folder.mkdir(exist_ok=True)
    return saved(folder, program, system=system)


@pytest.mark.parametrize("system", ["iOS16", "iOS18"])
@pytest.mark.parametrize("method", ["int8", "palettize-8", "palettize-6", "palettize-4"])
def test_a_stored_weight_is_what_its_method_says(tmp_path: Path, method: str, system: str) -> None:
    package = built(tmp_path, method, system)
    plain = load_program(built(tmp_path / "plain", "none", system))
    meant = plain.with_constants({name: approximated(weight(name), method) for name in WEIGHTS})
    # coremltools rounds the scales of int8 to float16 before it divides by them.
    assert output_error(load_program(package), [CALL], [meant.predict(CALL)]) < 0.01
    assert size(package) < size(tmp_path / "plain" / "model.mlpackage") * 0.75


def test_pruning_makes_the_smallest_weights_zero(tmp_path: Path) -> None:
    constants = load_program(built(tmp_path, "prune-60")).constants()
    zeroed = [name for name, value in constants.items() if value.shape == WEIGHTS["first"]]
    assert len(zeroed) == 1
    left = constants[zeroed[0]]
    assert abs(float(np.mean(left == 0)) - 0.6) < 0.01
    kept = left != 0
    assert np.array_equal(left[kept], weight("first")[kept])
    assert np.abs(weight("first")[~kept]).max() <= np.abs(left[kept]).min()


def test_the_same_program_is_compressed_to_the_same_bytes(tmp_path: Path) -> None:
    weights = "Data/com.apple.CoreML/weights/weight.bin"
    one, two = (built(tmp_path / name, "palettize-4") / weights for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("limit", [0.01, 0.05])
def test_what_auto_chooses_keeps_near_its_limit_and_is_smaller(tmp_path: Path, limit: float) -> None:
    plain = load_program(built(tmp_path / "plain", "none"))
    methods = chosen(plain, [CALL], limit)
    assert set(methods) == set(WEIGHTS)
    package = built(tmp_path, methods)
    error = output_error(load_program(package), [CALL], [plain.predict(CALL)])
    assert 0 < error < 1.5 * limit
    assert size(package) < size(tmp_path / "plain" / "model.mlpackage")


def test_auto_leaves_everything_alone_where_nothing_may_change(tmp_path: Path) -> None:
    plain = load_program(built(tmp_path, "none"))
    assert set(chosen(plain, [CALL], 0.0).values()) == {"none"}


@pytest.mark.parametrize("text", ["int4", "palettize", "palettize-5", "prune-0", "prune-100", "prune-x", ""])
def test_an_unknown_method_is_refused_by_name(text: str) -> None:
    with pytest.raises(TargetError, match=f"compress = '{text}' is not known") as caught:
        check(text, "ios17")
    assert caught.value.code == "coreml.compress"


def test_ios_15_reads_no_compressed_weights() -> None:
    with pytest.raises(TargetError, match="needs iOS 16"):
        check("int8", "ios15")
    assert check("none", "ios15").kind == "none"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=1, max_size=60))
def test_a_palette_with_room_for_every_value_changes_nothing(values: list[int]) -> None:
    given_weight = np.array([value % 13 for value in values], np.float32)
    entries, places = palette(given_weight, 4)
    assert np.array_equal(entries[places], given_weight)


def test_a_palette_is_not_much_worse_than_the_best_one() -> None:
    values = np.sort(np.random.default_rng(3).standard_normal(20)).astype(np.float32)
    best = np.inf
    for cut in combinations(range(1, 20), 3):
        parts = np.split(values, cut)
        best = min(best, sum(float(np.sum((part - part.mean()) ** 2)) for part in parts))
    entries, places = palette(np.repeat(values, 2), 2)
    found = float(np.sum((entries[places] - np.repeat(values, 2)) ** 2)) / 2
    assert found < 1.3 * best


def test_an_artifact_says_how_its_weights_are_stored_and_keeps_to_the_limit(
    cnn: onnx.ModelProto, convert: Convert
) -> None:
    artifact, folder = convert(coreml, cnn, compress="palettize-6", compress_limit=0.05)
    plain, _ = convert(coreml, cnn)
    assert artifact.quantization.scheme == "palettize-6"
    assert artifact.parity_measure == "rms"
    assert artifact.resources.disk_bytes < plain.resources.disk_bytes
    assert any(note.startswith("weights stored by palettize-6 move an output by") for note in artifact.notes)
    runner = coreml.runner(artifact, folder)
    assert runner.run({"x": np.zeros((1, 3, 16, 16), np.float32)})["y"].shape == (1, 10)


def test_more_than_the_limit_is_refused_and_auto_finds_less(cnn: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match=r"compress = 'prune-90' moves an output by .*: expected at most 0\.10%"):
        convert(coreml, cnn, compress="prune-90", compress_limit=0.001)
    artifact, _ = convert(coreml, cnn, compress="auto", compress_limit=0.001)
    assert artifact.quantization.scheme == "auto"


@pytest.mark.parametrize("method", ["prune-50", "palettize-4", "auto"])
def test_a_constant_that_is_no_weight_stays_what_it_is(tmp_path: Path, method: str) -> None:
    places = np.arange(3000, dtype=np.float32).reshape(1, 3000)
    mb = builder()
    spec = mb.TensorSpec(shape=(1, 3000), dtype=types().fp32)

    @mb.program(input_specs=[spec], opset_version=target("iOS17"))
    def program(x: Any) -> Any:
        return mb.add(x=x, y=mb.const(val=places, name="places"), name="y")

    call = {"x": np.zeros((1, 3000), np.float32)}
    methods = chosen(load_program(saved(tmp_path, program)), [call], 0.5) if method == "auto" else method
    compress(program, methods)
    assert np.array_equal(load_program(saved(tmp_path, program)).predict(call)["y"], places)


@pytest.mark.parametrize(("bits", "error"), [(4, 0.2), (6, 0.08), (8, 0.01)])
def test_a_palette_reaches_far_weights_as_well_as_near_ones(bits: int, error: float) -> None:
    # Student's t with two degrees of freedom: a few weights a hundred times as large as most.
    far = np.random.default_rng(0).standard_t(2, 20000).astype(np.float16)
    entries, places = palette(far, bits)
    apart = entries[places].astype(np.float64) - far
    assert np.sqrt(np.mean(apart**2)) < error * np.std(far.astype(np.float64))
