"""From the source model to the artifact: emit, optimise, write, load back, run, describe."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import onnx

from targets._source.model import read_source
from targets._source.refusal import UnsupportedError
from targets._target import TargetError
from targets.coreml._border import SCORES, Wishes
from targets.coreml._compression import CLOSER, check, closest, compress, compressed
from targets.coreml._description import PARITY, described, with_compression
from targets.coreml._dimensions import bound, freedoms, with_maximum
from targets.coreml._functions import functions
from targets.coreml._lowering import lower
from targets.coreml._package import PACKAGE, write_package
from targets.coreml._passes import optimise
from targets.coreml._pictures import declaration, labels, pictures, read_labels
from targets.coreml._precision import computed, diverging, error, exact, least_end, samples, too_large, upstream
from targets.coreml._registry import REGISTRY
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from targets._source.model import Source
    from targets._target import Arrays, Artifact, Finding
    from targets.coreml import Options, Precision
    from targets.coreml._lowering import Lowered
    from targets.coreml.evaluator import Program

_TURNS = 4
"""How often exceptions from float16 are looked for."""


def findings(model: onnx.ModelProto, options: Options) -> list[Finding]:
    """Every node that can't be expressed, in any function."""
    found = [each for variant in functions(options, model).values() for each in lowered_model(model, variant).findings]
    return list(dict.fromkeys(found))


def convert(model: Path, options: Options, calibration: Arrays | None, out: Path) -> Artifact:
    """The artifact of a model file, written below `out`."""
    check(options.compress, options.minimum)
    source = onnx.load(model)
    if options.classifier:
        read_labels(source, model.parent)
    dimensions = with_maximum(options.dimensions, declaration(source).maximum)
    options = msgspec.structs.replace(options, dimensions=dimensions)
    variants = functions(options, source)
    settled = _all_settled(source, variants, calibration, out)
    if len(variants) > 1:
        settled = _together(source, variants, settled, out)
    for each in settled.values():
        _prove(each.lowered, each.program, each.program.predict(each.call))
    exceptions = frozenset[str]().union(*(each.exceptions for each in settled.values()))
    made = {name: each.lowered for name, each in settled.items()}
    artifact = described(made, source, options, out, exceptions)
    return with_compression(artifact, options, max(each.error for each in settled.values()))


def _all_settled(
    source: onnx.ModelProto, variants: Mapping[str, Options], calibration: Arrays | None, out: Path
) -> dict[str, Settled]:
    """Every function; a weight that several share is stored as closely as the one that needs it most wants it."""
    limit = aimed = next(iter(variants.values())).compress_limit

    def each(methods: Mapping[str, str] | None) -> dict[str, Settled]:
        made = {}
        for name, options in variants.items():
            wanted = msgspec.structs.replace(options, compress_limit=aimed)
            with tempfile.TemporaryDirectory() as scratch:
                where = out if len(variants) == 1 else Path(scratch)
                made[name] = _settled(source, wanted, calibration, where, methods)
        return made

    while True:
        settled = each(None)
        chosen = [found.methods for found in settled.values() if not isinstance(found.methods, str)]
        if len(variants) == 1 or not chosen:
            return settled
        methods = closest(chosen)
        settled = each(methods)
        error = max(found.error for found in settled.values())
        if error <= limit or set(methods.values()) <= {"none"}:
            return settled
        aimed *= min(CLOSER, limit / error)


class Settled(NamedTuple):
    """One function of the package, and what was found while it was made."""

    lowered: Lowered
    program: Program
    call: dict[str, NDArray[np.generic]]
    exceptions: frozenset[str]
    """Operations that are computed in float32."""
    methods: str | Mapping[str, str]
    """How weights are stored."""
    error: float
    """What that moves an output by."""


def _settled(
    source: onnx.ModelProto,
    options: Options,
    calibration: Arrays | None,
    out: Path,
    methods: Mapping[str, str] | None,
) -> Settled:
    """The package of one function; `methods` say how each weight is stored, where that is settled."""
    lowered = lowered_model(source, options)
    if lowered.findings:
        raise _refusal(lowered.findings)
    defaults = {name: each.default for name, each in freedoms(lowered.inputs, options.dimensions).items()}
    calls = samples([feature for feature in lowered.inputs if not feature.is_state], defaults, calibration)
    exceptions: frozenset[str] = frozenset()
    if options.precision == "float32":
        program = load_program(write_model(lowered, options, out))
    else:
        program, exceptions = _in_half(source, lowered, options, out, calls)
    built: list[str | Mapping[str, str]] = ["none"]

    def build(methods: str | Mapping[str, str]) -> Program:
        built.append(methods)
        shutil.rmtree(out / PACKAGE)
        return load_program(write_model(lowered_model(source, options), options, out, exceptions, methods))

    error = 0.0
    if options.compress != "none":
        program, error = compressed(program, build, methods or options.compress, calls, options.compress_limit)
    return Settled(lowered, program, calls[0], exceptions, built[-1], error)


def _together(
    source: onnx.ModelProto, variants: Mapping[str, Options], settled: Mapping[str, Settled], out: Path
) -> dict[str, Settled]:
    """All functions in one package, each loaded from it."""
    exceptions = frozenset[str]().union(*(each.exceptions for each in settled.values()))
    lowered = {}
    for name, options in variants.items():
        lowered[name] = lowered_model(source, options)
        finish(lowered[name], options, exceptions, settled[name].methods)
    first = next(iter(variants.values()))
    free = freedoms(next(iter(lowered.values())).inputs, first.dimensions)
    package = write_package(lowered, first.minimum, free, out)
    return {name: each._replace(program=load_program(package, name)) for name, each in settled.items()}


def _in_half(
    source: onnx.ModelProto, lowered: Lowered, options: Options, out: Path, calls: list[dict[str, NDArray[np.generic]]]
) -> tuple[Program, frozenset[str]]:
    """The program with all in float16 that can be, and the operations that can't."""
    plain = options_with(options, "float32")
    with tempfile.TemporaryDirectory() as name:
        program = load_program(write_model(lowered, plain, Path(name)))
    found = exact(program, calls)
    exceptions, blamed = too_large(program, found), set[str]()
    limit = PARITY["float16"][1] / 2

    def built(kept: Collection[str]) -> Program:
        shutil.rmtree(out / PACKAGE, ignore_errors=True)
        return load_program(write_model(lowered_model(source, options), options, out, kept))

    for turn in range(_TURNS):
        half = built(exceptions)
        if turn == _TURNS - 1 or error(found, half) < limit:
            break
        worse = diverging(found, half) - exceptions
        # What makes an error grow though it is in float32 itself needs its inputs so as well.
        worse = worse or upstream(program, blamed) - exceptions
        if not worse:
            break
        blamed |= worse
        exceptions |= worse
    if not error(found, half) < limit:
        end = least_end(computed(program), lambda names: error(found, built(exceptions | names)) < limit)
        if end is not None:
            exceptions |= end
        half = built(exceptions)
    return half, frozenset(exceptions)


def options_with(options: Options, precision: Precision) -> Options:
    """The same options in another precision."""
    return msgspec.structs.replace(options, precision=precision)


def _prove(lowered: Lowered, program: Program, results: Mapping[str, NDArray[np.generic]]) -> None:
    """Hold what the package gives, loaded back, to what it is said to give: a converter's word proves nothing."""
    if [each.name for each in program.inputs] != [each.name for each in lowered.inputs if not each.is_state]:
        raise TargetError("coreml.load", "the package's inputs are not the model's")
    for feature in lowered.outputs:
        if feature.is_state:
            continue
        got = results[feature.name]
        if feature.name == SCORES:
            got = got.reshape(feature.sizes({})).astype(feature.dtype)  # a dictionary has numbers of its own
        fits = len(got.shape) == len(feature.shape) and all(
            isinstance(want, str) or have == want for have, want in zip(got.shape, feature.shape, strict=True)
        )
        if not fits or got.dtype != feature.dtype:
            raise TargetError(
                "coreml.load",
                f"output '{feature.source}' of what was made does not match: expected "
                f"{feature.dtype}{list(feature.shape)}, got {got.dtype}{list(got.shape)}",
            )


def lowered_model(model: onnx.ModelProto, options: Options) -> Lowered:
    """The MIL program of a model, or what stands against it.

    Raises:
        TargetError: an input has a type or rank that Core ML has not, or the options for its shape can't be read.
    """
    source = read_source(bound(model, options.dimensions, options.batch), REGISTRY.served())
    try:
        seen = pictures(model) if options.images else {}
        named = labels(model) if options.classifier else None
        return lower(source, options.minimum, Wishes(seen, named, checked_states(source, options)))
    except UnsupportedError as error:
        raise TargetError("coreml.border", str(error), hint=error.hint) from error


def checked_states(source: Source, options: Options) -> dict[str, str]:
    """The inputs that become states, each with its output.

    Raises:
        TargetError: the release has no states, or the model no such input or output.
    """
    if options.states and options.minimum != "ios18":
        raise TargetError(
            "coreml.states", f"{options.minimum} has no states", hint='set targets.coreml.minimum = "ios18"'
        )
    for name, output in options.states.items():
        if name not in source.inputs or output not in source.outputs:
            raise TargetError("coreml.states", f"the model has no input '{name}' with an output '{output}'")
    return options.states


def write_model(
    lowered: Lowered,
    options: Options,
    out: Path,
    exceptions: Collection[str] = (),
    methods: str | Mapping[str, str] = "none",
) -> Path:
    """The package of a program that was lowered without findings.

    `exceptions` are operations kept in float32; `methods` say how all weights are stored, or each by its name.
    """
    finish(lowered, options, exceptions, methods)
    return write_package({"main": lowered}, options.minimum, freedoms(lowered.inputs, options.dimensions), out)


def finish(lowered: Lowered, options: Options, exceptions: Collection[str], methods: str | Mapping[str, str]) -> None:
    """Optimise the program, in the precision of the options but for the exceptions, and compress its weights."""
    half = _half(lowered, options, exceptions) if options.precision == "float16" else None
    optimise(lowered.program, half=half)
    compress(lowered.program, methods)


def _half(lowered: Lowered, options: Options, exceptions: Collection[str]) -> Callable[[Any], bool]:
    """Whether an operation may be computed in float16: unless it, its node, or its operator is an exception."""
    named = set(options.float32_ops)

    def may(operation: Any) -> bool:  # noqa: ANN401 - a MIL operation
        node = lowered.origins.get(operation.name, "")
        # What makes an output of the model has a name of its own, and gives it the output's.
        names = {operation.name, *(output.name for output in operation.outputs)}
        return not named & {node, operation.op_type} and names.isdisjoint(exceptions)

    return may


def _refusal(found: list[Finding]) -> TargetError:
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return TargetError(
        "coreml.operators",
        f"node '{first.node}' ({first.operator}) can't be expressed{more}: {first.reason}",
        hint=first.hint or "pack plan lists every such node",
    )
