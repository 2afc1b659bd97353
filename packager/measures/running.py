"""The source model and the shipped file, run on the same samples in the same calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from targets._target import Runner

    Array: TypeAlias = NDArray[np.generic]
    CallSize: TypeAlias = int | dict[str, int] | None

_CHANNELS_LAST = ("nwc", "nhwc", "ndhwc")
FREE_DIMENSION = 8
"""The size that a free dimension gets which is not the batch of all inputs."""
_ROWS = 256
"""Samples of one call where the batch is free."""


class Runnable(Protocol):
    """A `targets._target.Runner`, as far as measuring goes, or the source model."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, for one call."""
        ...


class SourceModel:
    """The imported model in onnxruntime, without any optimisation: what everything is compared with."""

    def __init__(self, path: Path) -> None:
        """Raises ConversionError where onnxruntime can't load the file."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        onnxruntime.disable_telemetry_events()
        failures = (
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NotImplemented,
            state.RuntimeException,
        )
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except failures as error:
            raise ConversionError("source.load", f"onnxruntime can't load the source model: {error}") from error
        self._outputs = [entry.name for entry in self._session.get_outputs()]
        self._failures = failures

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, for one call; a ConversionError where the model can't run on these inputs."""
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except self._failures as error:
            raise ConversionError(
                "source.run",
                f"the source model can't run on these samples: {error}",
                hint="give real samples as [data] evaluation",
            ) from error
        return dict(zip(self._outputs, results, strict=True))


class Shipped:
    """The shipped file, and how the source model's tensors are stored in its signature.

    A file may take narrower or quantized tensors than the source model: real = scale * (stored - zero_point). Where its
    signature says that a tensor's channels are last, they are the second axis in the source.
    """

    def __init__(self, runner: Runner, signature: SignatureSection, source: SignatureSection | None = None) -> None:
        """`source`: the source model's signature, where the file may lie otherwise."""
        self._runner = runner
        self._signature = signature
        self.fidelity = runner.fidelity
        known = {entry.name: entry.layout for entry in (*source.inputs, *source.outputs)} if source else {}
        self._moved = {
            entry.name
            for entry in (*signature.inputs, *signature.outputs)
            if entry.layout in _CHANNELS_LAST and known.get(entry.name) not in (None, entry.layout)
        }

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name as the file stores them, for one call."""
        return self._runner.run(inputs)

    def close(self) -> None:
        """Give back what the runtime holds."""
        self._runner.close()

    def stored_inputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The source model's inputs as the file takes them."""
        import numpy as np

        stored: dict[str, Array] = {}
        for entry in self._signature.inputs:
            array = np.moveaxis(inputs[entry.name], 1, -1) if entry.name in self._moved else inputs[entry.name]
            if entry.quantization is not None:
                limits = np.iinfo(entry.dtype)
                steps = np.rint(array.astype(np.float64) / entry.quantization.scale) + entry.quantization.zero_point
                array = np.clip(steps, limits.min, limits.max)
            stored[entry.name] = array if entry.dtype == "string" else array.astype(entry.dtype)
        return stored

    def real_outputs(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The file's outputs as real numbers."""
        import numpy as np

        real = dict(outputs)
        for entry in self._signature.outputs:
            if entry.quantization is not None:
                steps = outputs[entry.name].astype(np.float64) - entry.quantization.zero_point
                real[entry.name] = steps * entry.quantization.scale
            if entry.name in self._moved:
                real[entry.name] = np.moveaxis(real[entry.name], -1, 1)
        return real


class FromRest:
    """The source model as the shipped file shows it: state that the file keeps itself is zero in every call."""

    def __init__(self, source: Runnable, signature: SignatureSection, shipped: SignatureSection) -> None:
        """`signature`: the source's."""
        import numpy as np

        self._source = source
        given = {entry.name for entry in shipped.inputs}
        size = call_size(shipped)
        rows = size if isinstance(size, int) else 1
        self._zeros = {
            entry.name: np.zeros([size if isinstance(size, int) else rows for size in entry.shape], entry.dtype)
            for entry in signature.inputs
            if entry.name not in given
        }
        self._outputs = {entry.name for entry in shipped.outputs} if self._zeros else None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that the file has too, by name, for one call."""
        results = self._source.run({**inputs, **self._zeros})
        return {name: array for name, array in results.items() if self._outputs is None or name in self._outputs}


def call_size(signature: SignatureSection) -> CallSize:
    """How many samples one call takes; None where it is free; by input where they have no such axis in common.

    State beside the samples, such as [2, 1, 128] beside [1, 512], is of the second kind: each call takes that many rows
    of each input, 0 standing for a single number.
    """
    first = {entry.name: entry.shape[0] if entry.shape else 0 for entry in signature.inputs}
    inner = {size for entry in signature.inputs for size in entry.shape[1:]}
    fixed = [size for size in first.values() if isinstance(size, int)]
    if not fixed and not inner.intersection(first.values()):
        return None
    sizes = {name: size if isinstance(size, int) else FREE_DIMENSION for name, size in first.items()}
    return fixed[0] if len(set(sizes.values())) == 1 and fixed and fixed[0] else sizes


def one_call(inputs: Mapping[str, Array], size: CallSize, number: int = 0) -> dict[str, Array]:
    """The rows of the call of that number; a single one where the batch is free."""
    import numpy as np

    if not isinstance(size, dict):
        step = size or 1
        return {name: array[number * step : (number + 1) * step] for name, array in inputs.items()}
    return {
        name: array[number * size[name] : (number + 1) * size[name]] if size[name] else np.asarray(array[number])
        for name, array in inputs.items()
    }


def run_all(runnable: Runnable, inputs: Mapping[str, Array], size: CallSize) -> dict[str, Array]:
    """The outputs on all samples, in calls of `size` samples; the last call is filled up by its last sample."""
    import numpy as np

    if isinstance(size, dict):
        calls = min(len(array) // max(size[name], 1) for name, array in inputs.items())
        results = [runnable.run(one_call(inputs, size, number)) for number in range(calls)]
        return {name: np.concatenate([np.atleast_1d(result[name]) for result in results]) for name in results[0]}
    total = len(next(iter(inputs.values())))
    step = size or _ROWS
    parts: dict[str, list[Array]] = {}
    for start in range(0, total, step):
        part = {name: array[start : start + step] for name, array in inputs.items()}
        rows = min(step, total - start)
        if size is not None and rows < size:
            part = {
                name: np.concatenate([array, np.repeat(array[-1:], size - rows, axis=0)])
                for name, array in part.items()
            }
        for name, output in runnable.run(part).items():
            batched = np.atleast_1d(output)
            kept = batched[:rows] if size is not None and len(batched) == size else batched
            parts.setdefault(name, []).append(kept)
    return {name: np.concatenate(outputs) for name, outputs in parts.items()}
