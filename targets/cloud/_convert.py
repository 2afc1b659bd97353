"""Writing the cloud's file in the precision that was asked for, or in the fastest that is right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.manifest import QuantizationSection
from targets._onnx.file import ENTRY, describe, write_model
from targets._onnx.half import LIMIT, to_half
from targets._onnx.inputs import calls
from targets._onnx.int8 import quantize_dynamic, quantize_static
from targets._onnx.optimisation import optimise
from targets._target import TargetError
from targets.cloud._package import CPU, Variant, write_package

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from targets._onnx.optimisation import Level
    from targets._target import Arrays, Artifact
    from targets.cloud import Options, Quantize

    Call = dict[str, NDArray[np.generic]]

_CALIBRATION_CALLS = 256
_COMPARED_CALLS = 16
_TIMED_ROUNDS = 15
_LIMITS: dict[Quantize, float] = {"float16": LIMIT, "dynamic-int8": 0.05, "int8": 0.05}
"""Default limits of the parity gate, on the RMS of the difference."""
_EXACT = 1e-3
"""That of a variant without quantization, beside which the file for the CPU may have its operators fused."""


class _Made(NamedTuple):
    """A file in one precision."""

    scheme: Quantize
    path: Path
    model: onnx.ModelProto
    kept: tuple[str, ...] = ()


def convert(model: Path, options: Options, calibration: Arrays | None, out: Path) -> Artifact:
    """``model.onnx`` below `out`, or the package that it stands in.

    Raises:
        TargetError: as `targets.cloud` says.
    """
    notes: tuple[str, ...] = ()
    if options.quantize == "auto":
        made, notes = _fastest(model, options, calibration, out)
    else:
        made = _make(options.quantize, model, options, calibration, out)
    others = [
        Variant(provider, _variant(made, scheme, model, options, calibration, out / provider), scheme)
        for provider, scheme in sorted(options.variants.items())
    ]
    artifact = _described(made, options, notes, out)
    if not options.package:
        return artifact
    return write_package(artifact, [Variant(CPU, out / ENTRY, made.scheme), *others], out)


def _variant(
    made: _Made, scheme: Quantize, model: Path, options: Options, calibration: Arrays | None, out: Path
) -> Path:
    """The file for another execution provider, in standard operators alone, as far as the CPU can say right."""
    level: Level = "none" if options.level == "none" else "basic"
    out.mkdir()
    other = _make(scheme, model, msgspec.structs.replace(options, optimization=level), calibration, out)
    samples = calls(made.model, calibration, most=_COMPARED_CALLS)
    off = _worst(_outputs(made, samples), _outputs(other, samples))
    limit = max(_LIMITS.get(made.scheme, 0.0), _LIMITS.get(scheme, _EXACT))
    if off > limit:
        raise TargetError(
            "cloud.variants",
            f"the variant of {out.name} in {scheme} computes something else: its error of {off:.3g} is over {limit:g}",
            hint="choose another precision for it",
        )
    path = other.path.rename(out.with_suffix(".onnx"))
    out.rmdir()
    return path


def _described(made: _Made, options: Options, notes: tuple[str, ...], out: Path) -> Artifact:
    made.path.rename(out / ENTRY)
    artifact = describe(made.model, out / ENTRY)
    if options.onnxruntime and newer(artifact.runtime.minimum, options.onnxruntime):
        raise TargetError(
            "cloud.onnxruntime",
            f"the file needs onnxruntime {artifact.runtime.minimum}: expected at most {options.onnxruntime}",
            hint='its fused operators bind it to the release that wrote it; set optimization = "basic"',
        )
    if made.kept:
        notes = (*notes, f"{len(made.kept)} nodes stay in float32: {', '.join(made.kept[:5])}")
    if made.scheme == "none":
        return msgspec.structs.replace(artifact, notes=notes)
    return msgspec.structs.replace(
        artifact,
        notes=notes,
        quantization=QuantizationSection(scheme=made.scheme),
        parity_limit=_LIMITS[made.scheme],
        parity_measure="rms",
        golden_tolerance=(0.02, 0.01),
    )


def newer(release: str, other: str) -> bool:
    """Whether a release of onnxruntime came out after another."""
    first, second = ([int(part) for part in text.split(".")[:2]] for text in (release, other))
    return first > second


def _make(scheme: Quantize, model: Path, options: Options, calibration: Arrays | None, out: Path) -> _Made:
    import onnx

    scratch, path = out / "scratch.onnx", out / f"{scheme}.onnx"
    kept: tuple[str, ...] = ()
    if scheme == "none":
        result = optimise(model, options.level, scratch)
    elif scheme == "float16":
        source = optimise(model, _at_most_basic(options), scratch)
        result, kept, _ = to_half(source, calls(source, calibration, most=2))
    else:
        source = optimise(model, _at_most_basic(options), scratch)
        if scheme == "dynamic-int8":
            quantized = quantize_dynamic(source, scratch)
        elif calibration is None:
            raise TargetError("cloud.calibration", "int8 needs calibration data", hint="set data.calibration")
        else:
            quantized = quantize_static(source, calls(source, calibration, most=_CALIBRATION_CALLS), scratch)
        onnx.save(quantized, out / "quantized.onnx")
        result = optimise(out / "quantized.onnx", options.level, scratch)
        (out / "quantized.onnx").unlink()
    write_model(result, path)
    return _Made(scheme, path, result, kept)


def _at_most_basic(options: Options) -> Level:
    """What the quantizers take: they don't know onnxruntime's fused operators."""
    return "none" if options.level == "none" else "basic"


def _fastest(model: Path, options: Options, calibration: Arrays | None, out: Path) -> tuple[_Made, tuple[str, ...]]:
    """The fastest of all precisions whose outputs stay within the limit on a few calls, and what was measured."""
    reference = _make("none", model, options, calibration, out)
    samples = calls(reference.model, calibration, most=_COMPARED_CALLS)
    expected = _outputs(reference, samples)
    candidates, notes = [reference], []
    schemes: tuple[Quantize, ...] = ("float16", "dynamic-int8", "int8") if calibration else ("float16", "dynamic-int8")
    for scheme in schemes:
        try:
            made = _make(scheme, model, options, calibration, out)
        except TargetError as error:
            notes.append(f"auto: {scheme} is out: {error}")
            continue
        off = _worst(expected, _outputs(made, samples))
        if off <= _LIMITS[scheme]:
            candidates.append(made)
        else:
            notes.append(f"auto: {scheme} is out: its error of {off:.3g} is over {_LIMITS[scheme]:g}")
            made.path.unlink()
    times = _times(candidates, samples)
    chosen = min(candidates, key=lambda made: times[made.scheme])
    listed = ", ".join(f"{scheme} {seconds * 1e3:.3g} ms" for scheme, seconds in times.items())
    notes.append(f"auto: {chosen.scheme} is the fastest on this machine ({listed} for a call)")
    for made in candidates:
        if made is not chosen:
            made.path.unlink()
    return chosen, tuple(notes)


def _outputs(made: _Made, samples: Sequence[Call]) -> list[dict[str, NDArray[np.generic]]]:
    from targets._onnx.file import ShippedFile

    shipped = ShippedFile(made.path)
    try:
        return [shipped.run(sample) for sample in samples]
    finally:
        shipped.close()


def _worst(expected: Sequence[Call], got: Sequence[Call]) -> float:
    import numpy as np

    worst = 0.0
    for name in expected[0]:
        wanted = np.concatenate([np.ravel(call[name]) for call in expected])
        found = np.concatenate([np.ravel(call[name]) for call in got])
        if wanted.dtype.kind != "f":
            continue
        scale = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64))))
        off = float(np.sqrt(np.mean(np.square(wanted.astype(np.float64) - found))))
        worst = max(worst, off / scale if scale else off)
    return worst


def _times(candidates: Sequence[_Made], samples: Sequence[Call]) -> dict[Quantize, float]:
    """Median seconds of a call by precision, measured in turns so that a busy moment hits all of them."""
    import statistics

    from targets._onnx.file import ShippedFile

    opened = {made.scheme: ShippedFile(made.path) for made in candidates}
    seconds: dict[Quantize, list[float]] = {scheme: [] for scheme in opened}
    for turn in range(_TIMED_ROUNDS):
        for scheme, shipped in opened.items():
            before = time.perf_counter()
            shipped.run(samples[turn % len(samples)])
            seconds[scheme].append(time.perf_counter() - before)
    for shipped in opened.values():
        shipped.close()
    return {scheme: statistics.median(values) for scheme, values in seconds.items()}
