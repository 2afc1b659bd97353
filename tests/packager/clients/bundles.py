"""Bundles that clients are made of: one of all types and steps that a manifest can name, and one with any names."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from manifests.bundle import ARTIFACT_TYPE, Bundle
from manifests.layout import IMAGE_MEDIA_TYPE, Descriptor, Image
from manifests.manifest import (
    BuildSection,
    BundleSection,
    FileSection,
    GateSection,
    GoldenSection,
    Manifest,
    ModelSection,
    ParitySection,
    QuantizationParameters,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    SourceSection,
    TaskSection,
    TensorSection,
    decode_manifest,
    encode_manifest,
)
from manifests.pipeline import InputPipeline, OutputPipeline, PipelineSection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from manifests.section import DType

    Arrays = dict[str, NDArray[np.generic]]

DIGEST = "sha256:" + "0" * 64
DTYPES: tuple[DType, ...] = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "string",
)  # fmt: skip
HOSTILE = (
    "",
    "class",
    "int",
    "self",
    "x",
    "X",
    "x:0",
    "x 0",
    "1st",
    "_",
    "errno",
    "toString",
    "Equals",
    'quoted "name" \'s',
    "back\\slash\\",
    "trigraph ??/",
    "line\nbreak",
    "carriage\rreturn",
    "separator\u2028next\u2029next\x85next\x0bnext\x1cnext",
    "*/ end /* begin",
    '"""',
    "'''",
    "${dollar} $name #{hash} \\(swift) {brace} %s %d",
    "<tag attribute='&amp;'> ]]>",
    "{{ jinja }} {% raw %} {# note #}",
    "الاتجاه \u202e turned \u2066",
    "größe",
    "形状",
    "emoji 🐎",
    "\ufeffbom \u200b",
    "a" * 300,
    "public static void Main",
    "//",
    "#include <x>",
    "\t",
    "Tensor",
    "Found",
    "Wire",
    "Steps",
    "Backend",
    "HostileInputs",
    "HostileModel",
    "inputs",
    "outputs",
    "std",
    "packtrain",
    "data",
    "np",
    "description",
    "FILES",
)


def bundle_of(  # noqa: PLR0913 - each is a part of a manifest
    inputs: Sequence[TensorSection],
    outputs: Sequence[TensorSection],
    *,
    pipeline: PipelineSection | None = None,
    task: TaskSection | None = None,
    kind: str = "onnxruntime",
    maximum: dict[str, int] | None = None,
    name: str = "any-thing.2",
) -> Bundle:
    """A bundle that was never built: its manifest is one that could be read, and it has no files."""
    manifest = Manifest(
        bundle=BundleSection(name=name, version="1", counter=1, target="cloud"),
        model=ModelSection(
            source=SourceSection(reference="model.onnx", digest=DIGEST, framework="onnx"), task=task or TaskSection()
        ),
        signature=SignatureSection(inputs=tuple(inputs), outputs=tuple(outputs), maximum=maximum or {}),
        pipeline=pipeline or PipelineSection(),
        golden=GoldenSection(samples=2, rtol=1e-3, atol=1e-5),
        files=(
            FileSection(path="model.onnx", role="model", digest=DIGEST, size=1, media_type="application/octet-stream"),
            FileSection(path="golden.npz", role="golden", digest=DIGEST, size=1, media_type="application/zip"),
        ),
        runtime=RuntimeSection(kind=kind, minimum='1.23\n#error "*/ ${x} """', entry="model.onnx"),
        resources=ResourcesSection(disk_bytes=1),
        parity=ParitySection(samples=1, inputs="generated", fidelity="runtime", outputs=()),
        gates=(GateSection(name="parity", limit="1%", value=0.0, unit="ratio", verdict="passed"),),
        build=BuildSection(packtrain="1", toolchain={}, toolchain_digest=DIGEST, options={}),
    )
    descriptor = Descriptor(media_type=IMAGE_MEDIA_TYPE, digest=DIGEST, size=1)
    image = Image(
        schema_version=2, media_type=IMAGE_MEDIA_TYPE, artifact_type=ARTIFACT_TYPE, config=descriptor, layers=()
    )
    return Bundle(descriptor=descriptor, image=image, manifest=decode_manifest(encode_manifest(manifest)))


def golden_of(bundle: Bundle, rows: int = 2) -> bytes:
    """Golden samples with random values in every tensor; a free dimension that is not the first has 3."""
    random = np.random.default_rng(0)
    signature = bundle.manifest.signature
    arrays = {f"input.{entry.name}": _values(entry, rows, random) for entry in signature.inputs}
    arrays |= {f"expected.{entry.name}": _values(entry, rows, random) for entry in signature.outputs}
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes the names for its own options
    return stream.getvalue()


def _values(entry: TensorSection, rows: int, random: np.random.Generator) -> NDArray[np.generic]:
    free = [rows if axis == 0 else 3 for axis in range(len(entry.shape))]
    shape = [size if isinstance(size, int) else free[axis] for axis, size in enumerate(entry.shape)]
    if entry.dtype == "string":
        return np.array([["", "größe\n🐎", "plain"][index % 3] for index in range(int(np.prod(shape)))]).reshape(shape)
    if entry.dtype == "bool":
        return random.integers(0, 2, shape).astype(np.bool_)
    if entry.dtype.startswith("float"):
        return np.asarray(random.standard_normal(shape) * 4).astype(entry.dtype)
    limits = np.iinfo(entry.dtype)
    return np.asarray(random.integers(limits.min, limits.max, shape, dtype=entry.dtype, endpoint=True))


def every_type(kind: str = "onnxruntime") -> Bundle:
    """Every dtype as input and output, bare and with steps, in several layouts; labels and classes of every kind."""
    inputs = [TensorSection(name=f"bare_{dtype}", dtype=dtype, shape=("n", 2)) for dtype in DTYPES]
    inputs += [TensorSection(name=f"moved_{dtype}", dtype=dtype, shape=("n", 2, 3), layout="nct") for dtype in DTYPES]
    scaled = [dtype for dtype in DTYPES if dtype != "string"]
    inputs += [TensorSection(name=f"from_{dtype}", dtype="float32", shape=("n", 2), layout="nc") for dtype in scaled]
    inputs += [TensorSection(name=f"to_{dtype}", dtype=dtype, shape=("n", "w", 3), layout="nwc") for dtype in scaled]
    inputs += [
        TensorSection(
            name="stored", dtype="int8", shape=("n", 3, 2, 2), layout="nchw",
            quantization=QuantizationParameters(scale=0.02, zero_point=-4),
        ),
        TensorSection(name="number", dtype="float32", shape=()),
    ]  # fmt: skip
    before = [InputPipeline(input=f"moved_{dtype}", layout="tnc") for dtype in DTYPES]
    before += [
        InputPipeline(input=f"from_{dtype}", dtype=dtype, scale=(0.25,), mean=(0.5, -0.5), std=(2.0,))
        for dtype in scaled
    ]
    before += [InputPipeline(input=f"to_{dtype}", dtype="float32", layout="cnw", scale=(9.5,)) for dtype in scaled]
    before.append(
        InputPipeline(input="stored", kind="image", dtype="uint8", layout="nhwc", colour="bgr", scale=(0.01,))
    )
    outputs = [TensorSection(name=f"bare_{dtype}", dtype=dtype, shape=("n", 2)) for dtype in DTYPES]
    quantized = QuantizationParameters(scale=0.1, zero_point=3)
    outputs += [
        TensorSection(name="scores", dtype="float32", shape=("n", 1200)),
        TensorSection(name="planes", dtype="float16", shape=("n", 4, 3)),
        TensorSection(name="logits", dtype="int8", shape=("n", 5), quantization=quantized),
        TensorSection(name="flags", dtype="float64", shape=("n", 3, 2)),
        TensorSection(name="whole", dtype="int32", shape=("n", 3)),
        TensorSection(name="single", dtype="float32", shape=()),
    ]
    after = [
        OutputPipeline(output="scores", activation="softmax", select="top", top=3),
        OutputPipeline(output="planes", activation="softmax", axis=1, select="argmax", labels=("a", "b", "c", "d")),
        OutputPipeline(output="logits", activation="sigmoid", select="threshold", threshold=0.5, labels=HOSTILE[:5]),
        OutputPipeline(output="flags", axis=-2, select="threshold", threshold=0.0),
        OutputPipeline(output="whole", select="argmax"),
        OutputPipeline(output="single", activation="sigmoid"),
    ]
    labels = tuple(f"label {index} {HOSTILE[index % len(HOSTILE)]}" for index in range(1200))
    return bundle_of(
        inputs,
        outputs,
        pipeline=PipelineSection(inputs=tuple(before), outputs=tuple(after)),
        task=TaskSection(kind="classification", output="scores", labels=labels),
        maximum={"w": 64},
        kind=kind,
    )


def hostile_names(names: Sequence[str] = HOSTILE) -> Bundle:
    """Each name as that of an input and of an output with classes, of a free dimension, and of a label."""
    inputs = [TensorSection(name=name, dtype="float32", shape=(name or "n", 2)) for name in names]
    outputs = [TensorSection(name=name, dtype="float32", shape=("n", 2)) for name in names]
    after = [OutputPipeline(output=name, select="argmax", labels=(name, f"nul\0 {name}")) for name in names]
    return bundle_of(inputs, outputs, pipeline=PipelineSection(outputs=tuple(after)), name="hostile")
