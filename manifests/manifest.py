"""The packtrain manifest, version 1: what a bundle says of itself. `SPEC.md` beside this file numbers its MUSTs.

No clock, host name or measured time stands in it: the same inputs give the same bytes. What was measured on one
machine at one time goes into an attestation (`manifests.attestation`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from manifests.canonical import canonical_json, parse_json, plain
from manifests.digests import Digest
from manifests.errors import InvalidManifestError
from manifests.fpga import FpgaSection
from manifests.pipeline import PipelineSection
from manifests.references import check_references
from manifests.section import DType, Name, Section, Size

MANIFEST_VERSION = "1.2"
MANIFEST_MEDIA_TYPE = "application/vnd.packtrain.manifest.v1+json"
_NUMBER = r"(?:0|[1-9][0-9]{0,5})"
VERSION_PATTERN = rf"^{_NUMBER}\.{_NUMBER}$(?!\n)"
MANIFEST_LIMIT = 1 << 20
"""Largest manifest that is parsed, in bytes."""


class BundleSection(Section, frozen=True, kw_only=True):
    """Which bundle this is."""

    name: Name
    version: Name
    counter: Size
    """The release counter: orders versions for trust; `version` is but a label."""
    target: Name


class SourceSection(Section, frozen=True, kw_only=True):
    """Where the model came from."""

    reference: str
    """As written in ``pack.toml``, without credentials."""
    digest: Digest
    framework: str


class TaskSection(Section, frozen=True, kw_only=True):
    """What the model does, as far as evaluation and drift need to know."""

    kind: Literal["classification", "regression", "unknown"] = "unknown"
    output: str = ""
    """The output that holds the scores (classification) or the value (regression)."""
    labels: tuple[str, ...] = ()
    """The class names, in the order of the scores' last axis."""


class ModelSection(Section, frozen=True, kw_only=True):
    """The model before it was converted."""

    source: SourceSection
    task: TaskSection = TaskSection()
    licence: str = ""


class QuantizationParameters(Section, frozen=True, kw_only=True):
    """Affine quantization of one tensor: real = scale * (stored - zero_point)."""

    scale: Annotated[float, msgspec.Meta(gt=0)]
    zero_point: int


class TensorSection(Section, frozen=True, kw_only=True):
    """One input or output of the shipped model."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    """A number for a fixed dimension, a name for one that is free."""
    layout: str = ""
    range: tuple[float, float] | None = None
    quantization: QuantizationParameters | None = None


class SignatureSection(Section, frozen=True, kw_only=True):
    """What goes in and what comes out."""

    inputs: tuple[TensorSection, ...]
    outputs: tuple[TensorSection, ...]
    maximum: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = msgspec.field(default_factory=dict)
    """The largest value of a free dimension, by its name; one that is not here has no bound (since 1.1)."""


class GoldenSection(Section, frozen=True, kw_only=True):
    """Samples that the device runs before it activates the bundle.

    The file (role ``golden``) is an uncompressed npz with the arrays ``input.<name>`` and ``expected.<name>``, whose
    first axis is the sample. ``expected`` is what the shipped file computed when it was built.
    """

    samples: Annotated[int, msgspec.Meta(ge=1)]
    rtol: Annotated[float, msgspec.Meta(ge=0)]
    atol: Annotated[float, msgspec.Meta(ge=0)]


class FeatureBaseline(Section, frozen=True, kw_only=True):
    """How one feature was distributed in the training data.

    Bin i counts values in ``(edges[i-1], edges[i]]``; the first bin is open below and the last above, so there is one
    more count than edges.
    """

    name: str
    input: str
    index: Size
    """Position of the feature in one flattened sample of that input."""
    edges: tuple[float, ...]
    counts: tuple[Size, ...]


class PredictionBaseline(Section, frozen=True, kw_only=True):
    """How the model's own predictions were distributed on the training data: one count a label."""

    output: str
    counts: tuple[Size, ...]


class BaselineSection(Section, frozen=True, kw_only=True):
    """What drift is measured against."""

    samples: Size
    features: tuple[FeatureBaseline, ...] = ()
    predictions: PredictionBaseline | None = None


class FileSection(Section, frozen=True, kw_only=True):
    """One file of the bundle; it is a layer of the OCI manifest."""

    path: Annotated[
        str,
        msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*$(?!\n)", max_length=255),
    ]
    """Relative, with ``/``; no part of it starts with a dot, so none leads out of the folder (SPEC 3.4.1)."""
    role: Literal["model", "weights", "golden", "labels", "other"]
    digest: Digest
    size: Size
    media_type: str


class RuntimeSection(Section, frozen=True, kw_only=True):
    """What runs the bundle on the device."""

    kind: Name
    """Such as ``onnxruntime`` or ``litert``: the name of a module in `agent.runtimes`."""
    minimum: str
    entry: str
    """Path of the file that the runtime opens."""
    ir_version: int | None = None
    opsets: dict[str, int] = msgspec.field(default_factory=dict)
    operators: tuple[str, ...] = ()


class InstructionSets(Section, frozen=True, kw_only=True):
    """Extensions of one architecture, by the names that compilers have for them, such as ``neon`` or ``dotprod``."""

    required: tuple[str, ...] = ()
    """Without which the runtime or the file does not run."""
    used: tuple[str, ...] = ()
    """Those that make it faster where a processor has them."""


class HardwareSection(Section, frozen=True, kw_only=True):
    """What the bundle asks of the device's hardware; empty: nothing in particular."""

    architectures: tuple[str, ...] = ()
    """As ``uname -m`` prints them."""
    instructions: dict[str, InstructionSets] = msgspec.field(default_factory=dict)
    """Instruction sets by architecture; one that is not here needs nothing beyond its base (since 1.2)."""


class DelegationSection(Section, frozen=True, kw_only=True):
    """How much of the model an accelerating part of the runtime takes over."""

    delegate: str
    """Such as ``XNNPACK``."""
    operations: Size
    """Those that it runs."""
    total: Size
    """All operations that could have been: those of the main graph."""


class ResourcesSection(Section, frozen=True, kw_only=True):
    """What the bundle takes of the device."""

    disk_bytes: Size
    memory_bytes: Size | None = None
    """At its peak, as far as it is known ahead of time: computed tensors, and the file where it is mapped."""
    macs: Size | None = None
    arena_bytes: Size | None = None
    """Of computed tensors alone, each held from its first use to its last (since 1.2)."""
    operations: dict[str, Size] = msgspec.field(default_factory=dict)
    """How many of each operator the file holds, by the runtime's names (since 1.2)."""
    transposes: Size | None = None
    """Of them, how many do nothing but move bytes into another order (since 1.2)."""
    delegation: DelegationSection | None = None
    """As found on the machine that built the bundle (since 1.2)."""
    fpga: FpgaSection | None = None
    """Of hardware that the bundle itself is (since 1.2)."""


class QuantizationSection(Section, frozen=True, kw_only=True):
    """How the weights and activations were made smaller."""

    scheme: str = "none"
    calibration_digest: Digest | None = None
    calibration_samples: Size = 0


class OutputParity(Section, frozen=True, kw_only=True):
    """How far one output of the shipped file is from the source model's, on the same inputs."""

    output: str
    max_absolute: float
    max_relative: float
    """Largest absolute difference divided by the largest absolute value of the source model's output."""
    rms_relative: float
    """Root mean square of the difference divided by that of the source model's output, over all samples."""


class ParitySection(Section, frozen=True, kw_only=True):
    """The shipped file against the source model."""

    samples: Size
    inputs: Literal["data", "generated"]
    fidelity: Literal["runtime", "emulated"]
    outputs: tuple[OutputParity, ...]
    worst_layer: str = ""


class GateSection(Section, frozen=True, kw_only=True):
    """One gate's verdict. A measured time is not repeated here (`value` is None then): the attestation has it."""

    name: Name
    limit: str
    value: float | None
    unit: str
    verdict: Literal["passed", "waived", "no-data"]
    """A failed gate makes no bundle, so there is no word for it."""
    waiver: str = ""


class LineageSection(Section, frozen=True, kw_only=True):
    """What the model grew from."""

    run: str = ""
    commit: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    datasets: dict[str, str] = msgspec.field(default_factory=dict)
    """Name to digest, as the registry has them."""
    previous: Digest | None = None


class BuildSection(Section, frozen=True, kw_only=True):
    """How the bundle was made."""

    packtrain: str
    toolchain: dict[str, str]
    """Distribution to version, of all that had a part in the conversion."""
    toolchain_digest: Digest
    options: dict[str, str | int | float | bool | None]


class Manifest(Section, frozen=True, kw_only=True):
    """The whole manifest."""

    manifest: Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)] = MANIFEST_VERSION
    """Version of this format; always written, although it has a default (SPEC 2.3.1)."""
    bundle: BundleSection
    model: ModelSection
    signature: SignatureSection
    pipeline: PipelineSection = PipelineSection()
    golden: GoldenSection
    baseline: BaselineSection | None = None
    files: tuple[FileSection, ...]
    runtime: RuntimeSection
    hardware: HardwareSection = HardwareSection()
    resources: ResourcesSection
    quantization: QuantizationSection = QuantizationSection()
    parity: ParitySection
    gates: tuple[GateSection, ...]
    lineage: LineageSection = LineageSection()
    build: BuildSection

    def file(self, path: str) -> FileSection:
        """The file of that path.

        Raises:
            InvalidManifestError: the manifest lists none.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise InvalidManifestError("manifest.file", f"manifest lists no file '{path}'")

    def golden_file(self) -> FileSection:
        """The file that holds the golden samples.

        Raises:
            InvalidManifestError: the manifest lists none.
        """
        for entry in self.files:
            if entry.role == "golden":
                return entry
        raise InvalidManifestError("manifest.file", "manifest lists no file with the role 'golden'")


class _Version(msgspec.Struct):
    """The only field that is read before the version is known to be ours."""

    manifest: str


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes (SPEC 2.1).

    Raises:
        InvalidManifestError: a number is NaN, infinite or an integer past 2**53.
    """
    document = msgspec.convert(plain(manifest), dict[str, object])
    return canonical_json({**document, "manifest": manifest.manifest})


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, which must be its canonical bytes.

    Raises:
        InvalidManifestError: too large, not JSON, another major version, an unknown or missing field (named by its
            path), a broken reference between sections, or not the canonical encoding.
    """
    if len(data) > MANIFEST_LIMIT:
        raise InvalidManifestError(
            "manifest.size", f"manifest is too large: expected at most {MANIFEST_LIMIT} bytes, got {len(data)}"
        )
    try:
        version = parse_json(data, _Version).manifest
    except msgspec.DecodeError as error:
        raise InvalidManifestError("manifest.format", f"not a packtrain manifest: {error}") from error
    newer = check_version("manifest", version, MANIFEST_VERSION)
    try:
        manifest = parse_json(data, Manifest)
    except msgspec.DecodeError as error:
        if newer:
            raise InvalidManifestError(
                "manifest.newer",
                f"manifest of version {version} says what version {MANIFEST_VERSION} does not know: {error}",
                hint="upgrade packtrain on this machine",
            ) from error
        raise InvalidManifestError("manifest.field", f"manifest is not valid: {error}") from error
    if encode_manifest(manifest) != data:
        raise InvalidManifestError(
            "manifest.canonical",
            "manifest is not in its canonical encoding: expected RFC 8785 without fields at their default",
        )
    check_references(manifest)
    return manifest


def manifest_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of the manifest; ``schema/manifest.v1.json`` is its copy (SPEC 2.2.3)."""
    schema = msgspec.json.schema(Manifest)
    definition = schema["$defs"]["Manifest"]
    definition["required"] = ["manifest", *definition["required"]]
    definition["properties"]["manifest"] = {"type": "string", "pattern": rf"^1\.{_NUMBER}$(?!\n)"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "packtrain manifest 1", **schema}


def check_version(document: str, theirs: str, ours: str) -> bool:
    """Whether a document's version is a newer minor one than ours (SPEC 2.3).

    Raises:
        InvalidManifestError: it is another major version, or no version.
    """
    if re.match(VERSION_PATTERN, theirs) is None:
        raise InvalidManifestError(
            f"{document}.version",
            f"{document} version can't be read: expected a number as '{ours}', got '{theirs[:40]}'",
        )
    major, minor = (int(part) for part in theirs.split("."))
    our_major, our_minor = (int(part) for part in ours.split("."))
    if major != our_major:
        raise InvalidManifestError(
            f"{document}.version",
            f"{document} version {theirs} can't be read: expected {our_major}.x",
            hint="upgrade packtrain on this machine" if major > our_major else "build it again with this packtrain",
        )
    return minor > our_minor
