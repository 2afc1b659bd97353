"""The packtrain manifest, version 1: what a bundle says of itself. `SPEC.md` beside this file numbers its MUSTs.

No clock, host name or measured time stands in it: the same inputs give the same bytes. What was measured on one
machine at one time goes into an attestation (`manifests.attestation`).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from manifests.canonical import canonical_json
from manifests.digests import Digest
from manifests.errors import InvalidManifestError

MANIFEST_VERSION = "1.0"
MANIFEST_MEDIA_TYPE = "application/vnd.packtrain.manifest.v1+json"
MANIFEST_LIMIT = 1 << 20
"""Largest manifest that is parsed, in bytes."""

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")]
"""A model's, version's, target's, fleet's or device's name: safe as a path part, an MQTT level and an OCI reference."""

DType: TypeAlias = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "string",
]  # fmt: skip


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every part of the manifest has in common: frozen, and strict about its fields (SPEC 2.2)."""


class BundleSection(Section, frozen=True, kw_only=True):
    """Which bundle this is."""

    name: Name
    version: Name
    counter: Annotated[int, msgspec.Meta(ge=0)]
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

    scale: float
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


class PipelineStep(Section, frozen=True, kw_only=True):
    """One declared step of pre- or post-processing."""

    operation: str
    parameters: dict[str, str | float | tuple[float, ...]] = {}


class PipelineSection(Section, frozen=True, kw_only=True):
    """What the application does around the model."""

    preprocess: tuple[PipelineStep, ...] = ()
    postprocess: tuple[PipelineStep, ...] = ()


class GoldenSection(Section, frozen=True, kw_only=True):
    """Samples that the device runs before it activates the bundle.

    The file (role ``golden``) is an uncompressed npz with the arrays ``input.<name>`` and ``expected.<name>``, whose
    first axis is the sample. ``expected`` is what the shipped file computed when it was built.
    """

    samples: Annotated[int, msgspec.Meta(ge=1)]
    rtol: float
    atol: float


class FeatureBaseline(Section, frozen=True, kw_only=True):
    """How one feature was distributed in the training data.

    Bin i counts values in ``(edges[i-1], edges[i]]``; the first bin is open below and the last above, so there is one
    more count than edges.
    """

    name: str
    input: str
    index: int
    """Position of the feature in one flattened sample of that input."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class PredictionBaseline(Section, frozen=True, kw_only=True):
    """How the model's own predictions were distributed on the training data: one count a label."""

    output: str
    counts: tuple[int, ...]


class BaselineSection(Section, frozen=True, kw_only=True):
    """What drift is measured against."""

    samples: int
    features: tuple[FeatureBaseline, ...] = ()
    predictions: PredictionBaseline | None = None


class FileSection(Section, frozen=True, kw_only=True):
    """One file of the bundle; it is a layer of the OCI manifest."""

    path: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]
    role: Literal["model", "weights", "golden", "labels", "other"]
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]
    media_type: str


class RuntimeSection(Section, frozen=True, kw_only=True):
    """What runs the bundle on the device."""

    kind: Name
    """Such as ``onnxruntime`` or ``litert``: the name of a module in `agent.runtimes`."""
    minimum: str
    entry: str
    """Path of the file that the runtime opens."""
    ir_version: int | None = None
    opsets: dict[str, int] = {}
    operators: tuple[str, ...] = ()


class HardwareSection(Section, frozen=True, kw_only=True):
    """What the bundle asks of the device's hardware; empty: nothing in particular."""

    architectures: tuple[str, ...] = ()
    """As ``uname -m`` prints them."""


class ResourcesSection(Section, frozen=True, kw_only=True):
    """What the bundle takes of the device."""

    disk_bytes: int
    memory_bytes: int | None = None
    macs: int | None = None


class QuantizationSection(Section, frozen=True, kw_only=True):
    """How the weights and activations were made smaller."""

    scheme: str = "none"
    calibration_digest: Digest | None = None
    calibration_samples: int = 0


class OutputParity(Section, frozen=True, kw_only=True):
    """How far one output of the shipped file is from the source model's, on the same inputs."""

    output: str
    max_absolute: float
    max_relative: float
    """Largest absolute difference divided by the largest absolute value of the source model's output."""


class ParitySection(Section, frozen=True, kw_only=True):
    """The shipped file against the source model."""

    samples: int
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
    parameters: dict[str, str] = {}
    metrics: dict[str, float] = {}
    datasets: dict[str, str] = {}
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

    manifest: str = msgspec.field(default=MANIFEST_VERSION)
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
    """The canonical bytes (SPEC 2.1)."""
    document = msgspec.to_builtins(manifest)
    document["manifest"] = manifest.manifest
    return canonical_json(document)


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
        version = msgspec.json.decode(data, type=_Version).manifest
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidManifestError("manifest.format", f"not a packtrain manifest: {error}") from error
    _check_version(version)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise InvalidManifestError("manifest.field", f"manifest is not valid: {error}") from error
    if encode_manifest(manifest) != data:
        raise InvalidManifestError("manifest.canonical", "manifest is not in its canonical encoding (RFC 8785)")
    _check_references(manifest)
    return manifest


def manifest_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of the manifest."""
    return msgspec.json.schema(Manifest)


def _check_version(version: str) -> None:
    ours = MANIFEST_VERSION.split(".")
    theirs = version.split(".")
    if theirs[0] != ours[0]:
        raise InvalidManifestError(
            "manifest.version",
            f"manifest version {version} can't be read: expected {ours[0]}.x",
            hint="upgrade packtrain on this machine",
        )


def _check_references(manifest: Manifest) -> None:
    paths = [entry.path for entry in manifest.files]
    if len(set(paths)) != len(paths):
        raise InvalidManifestError("manifest.file", "manifest lists a file twice")
    manifest.file(manifest.runtime.entry)
    manifest.golden_file()
    inputs = {tensor.name for tensor in manifest.signature.inputs}
    for feature in manifest.baseline.features if manifest.baseline else ():
        if feature.input not in inputs:
            raise InvalidManifestError(
                "manifest.baseline", f"baseline feature '{feature.name}' names no input: '{feature.input}'"
            )
        if len(feature.counts) != len(feature.edges) + 1:
            raise InvalidManifestError(
                "manifest.baseline",
                f"baseline feature '{feature.name}': "
                f"expected {len(feature.edges) + 1} counts, got {len(feature.counts)}",
            )
