"""What a target is: the protocol that every module here satisfies with its module-level ``target``.

Nothing heavy is imported here or at the top of a target's module, so that listing targets costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]
    """Tensors by name; the first axis is the sample, unless the model's signature fixes it."""

from manifests.manifest import (
    FileSection,
    HardwareSection,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
)

NATIVE_DOMAIN = "packtrain.native"
"""Of the one node of a model that is not ONNX."""
Fidelity = Literal["runtime", "emulated"]
"""``runtime``: the device's own runtime ran the shipped file. ``emulated``: something that imitates it did."""


class TargetError(Exception):
    """A target can't do what it was asked.

    Attributes:
        code: stable identifier, such as ``edge-arm.calibration``.
        hint: what to do next.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Toolchain(msgspec.Struct, frozen=True, kw_only=True):
    """What a target needs on the build machine, as data; nothing is imported to find out."""

    distributions: tuple[str, ...] = ()
    """Python distributions, as on PyPI. Their versions are part of the cache key and of the manifest."""
    executables: tuple[str, ...] = ()
    """Programs that must be on PATH."""
    extra: str = ""
    """The extra of packtrain that brings the distributions: ``pip install packtrain[extra]``."""
    environment: str = ""
    """The toolchain that brings them where they are not installed beside packtrain: ``pack toolchain install NAME``."""
    hint: str = ""
    """How to get the executables."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The normal form of ONNX that a target accepts; the packager's passes bring a model there."""

    opset: tuple[int, int]
    """Lowest and highest version of the default operator set, inclusive."""
    ir_version: int
    """Highest ONNX IR version."""
    static_shapes: bool = False
    """Every dimension must be a number; the target's options say which value a free one gets."""
    ml_operators: bool = True
    """Whether operators of the domain ``ai.onnx.ml`` may remain."""
    functions: bool = False
    """Whether model-local functions may remain."""
    fused: bool = True
    """Whether onnxruntime's own operators (``com.microsoft``) may remain."""
    recurrent: bool = True
    """Whether LSTM, GRU and RNN may remain; else they become a Scan."""
    unrolled: int = 0
    """Loops of at most so many rounds are laid out, where their number is known."""
    quantized: bool = True
    """Whether quantized values may remain; else a model is written in float again, without its rounding."""
    decomposed: tuple[str, ...] = ()
    """Operators that the target lacks and that ONNX defines by simpler ones, such as ``LayerNormalization``."""
    formats: tuple[str, ...] = ()
    """Other formats that are shipped as they are, such as ``tflite``: see `native_file`."""


def native_file(model: onnx.ModelProto) -> tuple[str, bytes] | None:
    """The format and the file of a model that is not ONNX; None: it is.

    Such a model has one node, of the domain `NATIVE_DOMAIN`: its operator is the format's name, and its attribute
    ``file`` has the bytes. Inputs and outputs go by the file's names, and are real numbers where the file's are
    quantized.
    """
    nodes = model.graph.node
    if len(nodes) != 1 or nodes[0].domain != NATIVE_DOMAIN:
        return None
    return nodes[0].op_type, next(entry.s for entry in nodes[0].attribute if entry.name == "file")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One node that a target can't take."""

    node: str
    """The node's name; where it has none, that of its first output."""
    operator: str
    """Such as ``Conv`` or ``ai.onnx.ml.TreeEnsembleClassifier``."""
    reason: str
    hint: str = ""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What `convert` wrote below its `out` folder, and what the manifest says of it."""

    files: tuple[FileSection, ...]
    """Paths are relative to `out`."""
    signature: SignatureSection
    """Of the shipped file: same names as the source model's, in the same order."""
    runtime: RuntimeSection
    resources: ResourcesSection
    hardware: HardwareSection = HardwareSection()
    quantization: QuantizationSection = QuantizationSection()
    golden_tolerance: tuple[float, float] = (1e-3, 1e-5)
    """rtol and atol that another machine's run of the same file is expected to keep to."""
    parity_limit: float = 1e-4
    """Default limit of the parity gate, on what `parity_measure` names."""
    parity_measure: Literal["max", "rms"] = "max"
    """What the gate looks at: ``max``, `OutputParity.max_relative`, where every single value must be the source's;
    ``rms``, `OutputParity.rms_relative`, where values are rounded and one near a border may move far."""
    worst_layer: str = ""
    """What quantization took most from: the source model's node, and what computes it."""
    notes: tuple[str, ...] = ()
    """What the user should know, such as a dtype that was narrowed."""


class Runner(Protocol):
    """Runs the shipped files on this host."""

    fidelity: Fidelity

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call of the model.

        The leading dimension of each input must be one that the signature allows.
        """
        ...

    def close(self) -> None:
        """Give back what the runtime holds."""
        ...


@runtime_checkable
class Target(Protocol):
    """One runtime that packtrain builds for."""

    name: str
    """The module's name with ``-`` for ``_``."""
    summary: str
    """One line for ``pack targets``."""
    toolchain: Toolchain
    Options: ClassVar[type[msgspec.Struct]]
    """Struct read from ``[targets.NAME]`` of ``pack.toml``; every field has a default, unknown fields are refused."""

    def needs(self, options: msgspec.Struct) -> Needs:
        """The normal form that `convert` takes with these options."""
        ...

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """The value for each free dimension by its name; the key ``*`` stands for all others.

        Where `Needs.static_shapes` holds the model gets them; else samples that are made up do.
        """
        ...

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node of a model in the target's normal form that it can't take, before anything is converted."""
        ...

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write the artifact's files below `out`, an empty folder.

        `model` is an ONNX file in the normal form that `needs` asks for; it is a private copy and stays unchanged.
        Files that its declared pipeline names stand beside it.
        Deterministic: same model, options, calibration and toolchain, same bytes.

        Raises:
            TargetError: it can't be done; the message says why and the hint what helps.
        """
        ...

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """What runs the artifact whose files stand below `folder`."""
        ...


@runtime_checkable
class ToolchainByOptions(Protocol):
    """A target that needs other tools for other options."""

    def toolchain_for(self, options: msgspec.Struct) -> Toolchain:
        """What `Target.convert` needs with these options."""
        ...


def toolchain_of(target: Target, options: msgspec.Struct) -> Toolchain:
    """What the target needs on the build machine with these options."""
    return target.toolchain_for(options) if isinstance(target, ToolchainByOptions) else target.toolchain
