from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manifests.canonical import canonical_json
from manifests.errors import InvalidManifestError, ManifestError
from manifests.fpga import FpgaSection
from manifests.manifest import (
    MANIFEST_LIMIT,
    DelegationSection,
    HardwareSection,
    InstructionSets,
    ResourcesSection,
    check_version,
    decode_manifest,
    encode_manifest,
    manifest_schema,
)
from manifests.pipeline import InputPipeline, OutputPipeline, PipelineSection, ResizeSection, TokeniserSection

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifests.manifest import Manifest

SCHEMA = Path(__file__).parents[2] / "manifests" / "schema" / "manifest.v1.json"
replace = msgspec.structs.replace


def refusal(data: bytes) -> InvalidManifestError:
    with pytest.raises(InvalidManifestError) as caught:
        decode_manifest(data)
    return caught.value


def edited(manifest: Manifest, edit: Callable[[dict[str, Any]], object]) -> bytes:
    document: dict[str, Any] = json.loads(encode_manifest(manifest))
    edit(document)
    return canonical_json(document)


def test_what_was_encoded_is_decoded(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert decode_manifest(data) == manifest
    assert encode_manifest(decode_manifest(data)) == data


def test_equal_content_has_equal_bytes_however_it_was_put_together(manifest: Manifest) -> None:
    """SPEC 2.1.3."""
    explicit = replace(manifest, hardware=HardwareSection(), pipeline=PipelineSection(preprocess=()))
    assert encode_manifest(explicit) == encode_manifest(manifest)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**60])
def test_a_number_without_a_canonical_form_is_not_written(manifest: Manifest, number: float) -> None:
    """SPEC 2.1.2."""
    build = replace(manifest.build, options={"epsilon": number})
    with pytest.raises(InvalidManifestError, match="no canonical encoding"):
        encode_manifest(replace(manifest, build=build))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"baseline"', b'{ "baseline"'),
        (b'"counter":3', b'"counter":3,"counter":3'),
        (b'"rtol":0.001', b'"rtol":1e-3'),
        (b'"counter":3,"name":"digits"', b'"name":"digits","counter":3'),
        (b'"kind":"classification"', b'"kind":"classific\\u0061tion"'),
        (b'"files":', b'"hardware":{},"files":'),
        (b'"framework":"sklearn"', b'"framework":"sklearn" '),
    ],
    ids=["white space", "repeated key", "number", "order", "escape", "default", "trailing space"],
)
def test_another_encoding_of_the_same_content_is_refused(manifest: Manifest, old: bytes, new: bytes) -> None:
    """SPEC 2.1.4."""
    data = encode_manifest(manifest)
    assert old in data
    assert refusal(data.replace(old, new, 1)).code == "manifest.canonical"


def test_an_integer_past_what_json_holds_is_refused_when_read(manifest: Manifest) -> None:
    """SPEC 2.1.2."""
    data = encode_manifest(manifest).replace(b'"threads":1', b'"threads":9007199254740993')
    assert refusal(data).code == "canonical.value"


def test_more_than_the_limit_is_not_parsed() -> None:
    """SPEC 2.1.5."""
    assert refusal(b" " * (MANIFEST_LIMIT + 1)).code == "manifest.size"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"manifest":1}', b'{"a":' * 100_000, b"[" * 100_000])
def test_what_is_no_manifest_is_a_clean_error(data: bytes) -> None:
    """SPEC 2.1.5."""
    assert refusal(data).code == "manifest.format"


def test_nesting_inside_a_section_is_a_clean_error(manifest: Manifest) -> None:
    data = encode_manifest(manifest).replace(b'"optimise":true', b'"optimise":' + b"[" * 100_000)
    assert refusal(data).code in ("manifest.format", "manifest.field")


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda document: document.update(extra=1), "extra"),
        (lambda document: document["bundle"].update(extra=1), "$.bundle"),
        (lambda document: document.pop("files"), "files"),
        (lambda document: document["bundle"].update(counter="3"), "$.bundle.counter"),
        (lambda document: document["bundle"].update(counter=-1), "$.bundle.counter"),
        (lambda document: document["bundle"].update(name="Digits"), "$.bundle.name"),
        (lambda document: document["bundle"].update(name="digits\n"), "$.bundle.name"),
        (lambda document: document["files"][0].update(digest="sha256:" + "0" * 64 + "\n"), "$.files[0].digest"),
        (lambda document: document["files"][0].update(size=-1), "$.files[0].size"),
        (lambda document: document["golden"].update(atol=-1), "$.golden.atol"),
        (lambda document: document["gates"][0].update(verdict="failed"), "$.gates[0].verdict"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_its_path(
    manifest: Manifest, edit: Callable[[dict[str, Any]], object], path: str
) -> None:
    """SPEC 2.2.1; 2.4.1, 3.1.1."""
    error = refusal(edited(manifest, edit))
    assert error.code == "manifest.field"
    assert path in str(error)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a\n", "a\0", "a" * 256, "é"]
)
def test_a_path_that_could_lead_out_is_refused(manifest: Manifest, path: str) -> None:
    """SPEC 3.4.1."""
    data = edited(manifest, lambda document: document["files"][0].update(path=path))
    assert refusal(data).code == "manifest.field"


@pytest.mark.parametrize("version", ["2.0", "0.9", "999999.1"])
def test_another_major_version_is_refused_by_name_whatever_else_it_says(version: str) -> None:
    """SPEC 2.3.2."""
    error = refusal(canonical_json({"manifest": version, "unheard": "of"}))
    assert error.code == "manifest.version"
    assert version in str(error)
    assert error.hint


@pytest.mark.parametrize("version", ["", "1", "1.", "1.x", "01.0", "1.0.0", "1.0\n", "-1.0", "1." + "9" * 5000])
def test_what_is_no_version_is_refused(version: str) -> None:
    """SPEC 2.3.1."""
    assert refusal(canonical_json({"manifest": version})).code == "manifest.version"


def test_an_unknown_field_of_a_newer_minor_version_hints_at_an_upgrade(manifest: Manifest) -> None:
    """SPEC 2.3.3."""
    error = refusal(edited(manifest, lambda document: document.update(manifest="1.7", novelty=True)))
    assert error.code == "manifest.newer"
    assert "1.7" in str(error)
    assert "novelty" in str(error)
    assert "upgrade" in error.hint


def test_a_newer_minor_version_that_says_nothing_new_is_read(manifest: Manifest) -> None:
    """SPEC 2.3.3."""
    data = edited(manifest, lambda document: document.update(manifest="1.7"))
    assert decode_manifest(data) == replace(manifest, manifest="1.7")


def test_our_own_version_is_not_newer() -> None:
    assert not check_version("manifest", "1.0", "1.0")
    assert check_version("manifest", "1.10", "1.9")


PICTURE = InputPipeline(
    input="pixels",
    kind="image",
    colour="bgr",
    resize=ResizeSection(size=(320, 320), fit="contain", pad=(114.0,)),
    dtype="uint8",
    scale=(1 / 255,),
    mean=(0.5, 0.4, 0.3),
    std=(0.2,),
)
SCORES = OutputPipeline(output="scores", activation="softmax", select="top", top=5, labels=("no", "yes"))


def test_what_an_application_does_around_the_model_is_decoded_as_it_was_encoded(manifest: Manifest) -> None:
    piped = replace(manifest, pipeline=PipelineSection(inputs=(PICTURE,), outputs=(SCORES,)))
    assert decode_manifest(encode_manifest(piped)).pipeline.inputs == (PICTURE,)
    jsonschema.Draft202012Validator(manifest_schema()).validate(json.loads(encode_manifest(piped)))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (PipelineSection(inputs=(replace(PICTURE, input="sound"),)), "names no input: 'sound'"),
        (PipelineSection(inputs=(PICTURE, PICTURE)), "the pipeline of an input twice: 'pixels'"),
        (PipelineSection(inputs=(replace(PICTURE, std=(1.0, 2.0)),)), "different numbers of channels"),
        (PipelineSection(inputs=(replace(PICTURE, layout="nchw"),)), "expected the axes of ''"),
        (PipelineSection(inputs=(replace(PICTURE, layout="nn"),)), "names an axis twice: 'nn'"),
        (
            PipelineSection(inputs=(replace(PICTURE, tokeniser=TokeniserSection(file="t")),)),
            "no file of the bundle: 't'",
        ),
        (PipelineSection(outputs=(replace(SCORES, output="boxes"),)), "names no output: 'boxes'"),
        (PipelineSection(outputs=(SCORES, SCORES)), "the pipeline of an output twice: 'scores'"),
        (PipelineSection(outputs=(replace(SCORES, top=None),)), "'top' is given exactly where it selects"),
        (PipelineSection(outputs=(replace(SCORES, threshold=0.5),)), "'threshold' is given exactly where it selects"),
        (PipelineSection(outputs=(replace(SCORES, labels_file="l"),)), "no file of the bundle: 'l'"),
        (PipelineSection(outputs=(replace(SCORES, labels_file="model.onnx"),)), "has its labels twice"),
    ],
)
def test_a_pipeline_that_contradicts_the_rest_is_refused(
    manifest: Manifest, pipeline: PipelineSection, message: str
) -> None:
    """SPEC 3.7.3, 3.7.4, 3.7.7 and 3.7.8."""
    error = refusal(encode_manifest(replace(manifest, pipeline=pipeline)))
    assert error.code == "manifest.pipeline"
    assert message in str(error)


def test_a_bound_is_for_a_free_dimension(manifest: Manifest) -> None:
    """SPEC 3.2.5."""
    bounded = replace(manifest, signature=replace(manifest.signature, maximum={"n": 8}))
    assert decode_manifest(encode_manifest(bounded)).signature.maximum == {"n": 8}
    wrong = replace(manifest, signature=replace(manifest.signature, maximum={"m": 8}))
    assert refusal(encode_manifest(wrong)).code == "manifest.signature"


DEVICE = HardwareSection(
    architectures=("aarch64", "armv7l"),
    instructions={"aarch64": InstructionSets(used=("dotprod",)), "armv7l": InstructionSets(required=("neon",))},
)
FIGURES = ResourcesSection(
    disk_bytes=14,
    memory_bytes=1014,
    arena_bytes=1000,
    macs=6_720,
    operations={"CONV_2D": 3, "TRANSPOSE": 1},
    transposes=1,
    delegation=DelegationSection(delegate="XNNPACK", operations=3, total=4),
)
PLACED = FpgaSection(
    device="ecp5-25k",
    architecture="sequential",
    basis="placed",
    clock_goal_mhz=25.0,
    clock_mhz=31.27,
    seed=2,
    cells={"luts": 4100, "flip_flops": 1700, "dsps": 12, "memories": 9},
    latency_cycles=310,
    interval_cycles=210,
    rtl_vectors=48,
    netlist_vectors=48,
    tools={"yosys": "0.70"},
)


def test_what_a_bundle_asks_of_a_device_is_decoded_as_it_was_encoded(manifest: Manifest) -> None:
    """SPEC 3.8."""
    encoded = encode_manifest(replace(manifest, hardware=DEVICE, resources=FIGURES))
    decoded = decode_manifest(encoded)
    assert (decoded.hardware, decoded.resources) == (DEVICE, FIGURES)
    jsonschema.Draft202012Validator(manifest_schema()).validate(json.loads(encoded))


def test_instruction_sets_are_of_an_architecture_of_the_bundle(manifest: Manifest) -> None:
    """SPEC 3.8.1."""
    error = refusal(encode_manifest(replace(manifest, hardware=replace(DEVICE, architectures=("aarch64",)))))
    assert error.code == "manifest.hardware"
    assert "no architecture of the bundle: 'armv7l'" in str(error)


def test_a_delegate_runs_no_more_operations_than_there_are(manifest: Manifest) -> None:
    """SPEC 3.8.3."""
    part = DelegationSection(delegate="XNNPACK", operations=5, total=4)
    error = refusal(encode_manifest(replace(manifest, resources=replace(FIGURES, delegation=part))))
    assert error.code == "manifest.resources"
    assert "XNNPACK can't run 5 operations: there are 4" in str(error)


def test_what_a_design_takes_of_an_fpga_is_decoded_as_it_was_encoded(manifest: Manifest) -> None:
    """SPEC 3.8.4."""
    encoded = encode_manifest(replace(manifest, resources=replace(FIGURES, fpga=PLACED)))
    assert decode_manifest(encoded).resources.fpga == PLACED
    jsonschema.Draft202012Validator(manifest_schema()).validate(json.loads(encoded))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"basis": "estimate", "seed": None}, "an estimate has neither a reached clock nor a netlist"),
        ({"basis": "estimate", "seed": None, "clock_mhz": None}, "an estimate has neither"),
        ({"seed": None}, "a seed and a clock are of a placed design: its figures are 'placed'"),
        ({"clock_mhz": None}, "a seed and a clock are of a placed design"),
        ({"basis": "synthesised"}, "its figures are 'synthesised'"),
        ({"clock_mhz": 24.9}, "the clock is missed: expected 25 MHz, got 24.9"),
    ],
)
def test_a_design_on_an_fpga_claims_no_more_than_its_basis_shows(
    manifest: Manifest, changes: dict[str, object], message: str
) -> None:
    """SPEC 3.8.4."""
    error = refusal(encode_manifest(replace(manifest, resources=replace(FIGURES, fpga=replace(PLACED, **changes)))))
    assert error.code == "manifest.resources"
    assert message in str(error)


def test_a_file_is_found_by_its_path_and_the_golden_one_by_its_role(manifest: Manifest) -> None:
    assert manifest.file("model.onnx").role == "model"
    assert manifest.golden_file().path == "golden/samples.npz"
    with pytest.raises(InvalidManifestError, match="lists no file 'other'"):
        manifest.file("other")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_are_refused_with_a_manifest_error_or_read_as_themselves(
    manifest: Manifest, data: st.DataObject
) -> None:
    raw = bytearray(encode_manifest(manifest))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        decoded = decode_manifest(bytes(raw))
    except ManifestError:
        return
    assert encode_manifest(decoded) == raw


@given(st.binary())
@example(b'{"manifest":"1.0"}')
def test_random_bytes_are_refused_with_a_manifest_error(data: bytes) -> None:
    assert isinstance(refusal(data), ManifestError)


def test_the_schema_file_is_that_of_the_structs() -> None:
    """SPEC 2.2.3; after a change of the structs, write `manifest_schema()` into the file."""
    assert canonical_json(json.loads(SCHEMA.read_text())) == canonical_json(manifest_schema())


def test_every_section_of_the_schema_refuses_unknown_fields() -> None:
    """SPEC 2.2.1."""
    schema: Any = manifest_schema()
    for name, definition in schema["$defs"].items():
        assert definition["additionalProperties"] is False, name


def test_the_schema_accepts_what_we_write_and_refuses_what_we_refuse(manifest: Manifest) -> None:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document: dict[str, Any] = json.loads(encode_manifest(manifest))
    validator.validate(document)
    for section, field, value in [
        ("bundle", "name", "digits\n"),
        ("bundle", "extra", 1),
        ("golden", "samples", 0),
        ("resources", "disk_bytes", -1),
    ]:
        broken = deepcopy(document)
        broken[section][field] = value
        assert not validator.is_valid(broken), (section, field, value)
    assert not validator.is_valid(document | {"manifest": "2.0"})
    del document["manifest"]
    assert not validator.is_valid(document)
