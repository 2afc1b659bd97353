"""ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.runtimes._arguments import Declared, checked_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime

DISTRIBUTION = "onnxruntime"

_ERRORS_ONLY = 3
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}


class _Session:
    """One `onnxruntime.InferenceSession`; concurrent calls are safe, as onnxruntime says of `Run`."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = [_declared(entry) for entry in session.get_inputs()]
        self._outputs = [entry.name for entry in session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        checked = checked_inputs(self._inputs, inputs)
        results: Sequence[NDArray[np.generic]] = self._session.run(self._outputs, checked)
        return dict(zip(self._outputs, results, strict=True))

    def reset(self) -> None:
        """Nothing to forget: ONNX keeps no state between calls."""

    def close(self) -> None:
        del self._session


def open_model(path: Path, *, threads: int) -> Runtime:
    """The ONNX file, ready to run with that many threads.

    Raises:
        ValueError: onnxruntime can't load the file; the message has its reason.
    """
    return open_with(path, threads=threads, providers=["CPUExecutionProvider"])


def open_with(path: Path, *, threads: int, providers: Sequence[str]) -> Runtime:
    """As `open_model`, on the first of `providers` that can run a node."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    # A spinning pool burns a core of the device between two calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    onnxruntime.disable_telemetry_events()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except load_errors() as error:
        raise ValueError(f"onnxruntime can't load '{path.name}': {error}") from error
    return _Session(session)


def load_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises on a file that it can't take: each a direct child of `Exception`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )


def _declared(entry: onnxruntime.NodeArg) -> Declared:
    dtype = _DTYPES.get(entry.type) or entry.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else size or f"?{axis}" for axis, size in enumerate(entry.shape))
    return Declared(entry.name, dtype, shape)
