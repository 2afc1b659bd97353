"""The variants of edge-arm: hardware and memory in the artifact, and what a microcontroller gets and is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from onnx import helper

import targets.edge_arm
from packager.registry import find_target, source_of
from targets._target import TargetError
from targets.edge_arm import Options, arm64, armv7, mcu, target
from targets.edge_arm._microcontroller import COMPILER, compiled_size
from targets.edge_arm._resources import contents

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from targets._target import Artifact, Target

    Build = Callable[..., onnx.ModelProto]
    Convert = Callable[..., tuple[Artifact, Path]]


@pytest.mark.parametrize(
    ("device", "architectures", "kind", "fidelity"),
    [
        ("any", ("aarch64", "armv7l", "x86_64"), "litert", "runtime"),
        ("arm64", ("aarch64",), "litert", "runtime"),
        ("armv7", ("armv7l",), "litert", "runtime"),
        ("mcu", ("cortex-m",), "tflite-micro", "emulated"),
    ],
)
def test_a_variant_names_its_hardware_and_its_runtime(
    mlp: onnx.ModelProto, convert: Convert, device: str, architectures: tuple[str, ...], kind: str, fidelity: str
) -> None:
    artifact, folder = convert(target, mlp, device=device)
    assert artifact.hardware.architectures == architectures
    assert artifact.runtime.kind == kind
    assert target.runner(artifact, folder).fidelity == fidelity


def test_memory_is_that_of_the_tensors_that_live_at_once(build: Build, convert: Convert) -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Exp", ["b"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    artifact, folder = convert(target, build(nodes, {"x": [1, 256]}, {"y": [1, 256]}, {}))
    data = (folder / artifact.runtime.entry).read_bytes()
    assert contents(data).arena == 3 * 1024  # a, b and c
    assert artifact.resources.arena_bytes == 3 * 1024
    assert artifact.resources.memory_bytes == 3 * 1024 + len(data)


def test_operations_transposes_and_the_share_of_the_delegate_are_resources(
    cnn: onnx.ModelProto, convert: Convert
) -> None:
    artifact, _ = convert(target, cnn)
    resources = artifact.resources
    assert sum(resources.operations.values()) == 12
    assert resources.transposes == resources.operations["TRANSPOSE"] == 2
    assert resources.operations["CONV_2D"] >= 1
    part = resources.delegation
    assert part is not None
    assert (part.delegate, part.total) == ("XNNPACK", 12)
    assert 0 < part.operations <= part.total
    assert convert(target, cnn, device="mcu")[0].resources.delegation is None


@pytest.mark.parametrize(
    ("device", "scheme", "expected"),
    [
        ("arm64", "none", {"aarch64": (("neon",), ())}),
        ("arm64", "int8", {"aarch64": (("neon",), ("dotprod", "i8mm"))}),
        ("arm64", "int16x8", {"aarch64": (("neon",), ())}),
        ("armv7", "none", {"armv7l": (("neon",), ("vfpv4",))}),
        ("armv7", "dynamic-int8", {"armv7l": (("neon",), ("vfpv4", "dotprod"))}),
        ("mcu", "none", {"cortex-m": ((), ("fp",))}),
        ("mcu", "int8", {"cortex-m": ((), ("dsp", "mve"))}),
    ],
)
def test_instruction_sets_follow_from_what_the_file_multiplies(
    mlp: onnx.ModelProto,
    convert: Convert,
    device: str,
    scheme: str,
    expected: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
) -> None:
    given = {"x": np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)}
    artifact, _ = convert(target, mlp, given, quantize=scheme, device=device)
    found = {name: (sets.required, sets.used) for name, sets in artifact.hardware.instructions.items()}
    assert found == expected


def test_the_card_says_what_the_file_takes_of_a_device(cnn: onnx.ModelProto, convert: Convert) -> None:
    artifact, folder = convert(target, cnn, device="arm64")
    assert [entry.path for entry in artifact.files] == ["model.tflite", "card.md"]
    card = (folder / "card.md").read_text()
    assert "| aarch64 | needs neon |" in card
    assert f"| of it, tensors | {artifact.resources.arena_bytes:,} bytes |" in card
    assert "| `TRANSPOSE` | 2 |" in card
    assert "Quantization" not in card


@pytest.mark.parametrize(("variant", "device"), [(arm64, "arm64"), (armv7, "armv7"), (mcu, "mcu")])
def test_a_variant_by_its_own_name_makes_what_the_option_makes(
    mlp: onnx.ModelProto, convert: Convert, variant: Target, device: str
) -> None:
    registration, found = find_target(variant.name)
    assert found is variant
    assert source_of(registration) == Path(targets.edge_arm.__file__).parent
    assert convert(variant, mlp)[0] == convert(target, mlp, device=device)[0]
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'any'"):
        msgspec.convert({"device": "any"}, variant.Options)


def test_a_microcontroller_gets_the_file_as_a_c_array(mlp: onnx.ModelProto, convert: Convert) -> None:
    given = {"x": np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)}
    artifact, folder = convert(target, mlp, given, quantize="int8", device="mcu")
    assert [entry.path for entry in artifact.files][:1] == ["model.tflite"]
    assert {"model.c", "model.h"} <= {entry.path for entry in artifact.files}
    numbers = re.findall(r"0x([0-9a-f]{2})", (folder / "model.c").read_text())
    assert bytes.fromhex("".join(numbers)) == (folder / "model.tflite").read_bytes()
    header = (folder / "model.h").read_text()
    assert f"#define MODEL_ARENA_SIZE {artifact.resources.memory_bytes}u" in header
    assert re.findall(r"^ \*   (\w+)$", header, re.MULTILINE) == list(artifact.runtime.operators)


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
def test_the_c_array_compiles_for_a_microcontroller_to_the_size_of_the_file(
    mlp: onnx.ModelProto, convert: Convert
) -> None:
    artifact, folder = convert(target, mlp, device="mcu")
    assert compiled_size(folder) == artifact.resources.disk_bytes
    (folder / "model.c").write_text("no C")
    with pytest.raises(TargetError, match="refuses the C array"):
        compiled_size(folder)


def test_every_operation_without_a_kernel_is_named_before_the_conversion(build: Build, convert: Convert) -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["top", "places"], name="best"),
        helper.make_node("Reshape", ["x", "shape"], ["r"], name="fold"),
        helper.make_node("Transpose", ["r"], ["t"], name="far", perm=[5, 3, 1, 0, 2, 4]),
        helper.make_node("Relu", ["t"], ["y"], name="fine"),
    ]
    constants = {"k": np.array([2], np.int64), "shape": np.array([2, 2, 2, 2, 2, 2], np.int64)}
    model = build(nodes, {"x": [1, 64]}, {"y": [2, 2, 2, 2, 2, 2], "top": [1, 2]}, constants)
    found = {(entry.node, entry.operator) for entry in target.unsupported(model, Options(device="mcu"))}
    assert found == {("best", "TOPK_V2"), ("y", "TRANSPOSE")}  # the output is what has to move
    assert target.unsupported(model, Options()) == []
    with pytest.raises(TargetError, match="TensorFlow Lite Micro"):
        convert(target, model, device="mcu")


def test_a_scheme_that_a_microcontroller_has_no_kernels_for_is_refused(mlp: onnx.ModelProto, convert: Convert) -> None:
    with pytest.raises(TargetError, match="no kernels for quantize = 'dynamic-int8'") as caught:
        convert(target, mlp, quantize="dynamic-int8", device="mcu")
    assert caught.value.code == "edge-arm.device"
