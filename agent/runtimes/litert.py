"""TFLite files, run by LiteRT on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.runtimes._arguments import Declared, checked_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime

DISTRIBUTION = "ai-edge-litert"
_RESET = "reset"
"""The signature by which a file that keeps state forgets it."""


class _Signature:
    """What one file computes; not safe for concurrent calls, since the interpreter's tensors are shared."""

    def __init__(
        self, interpreter: Interpreter, inputs: dict[str, int], outputs: dict[str, int], *, keeps_state: bool = False
    ) -> None:
        self._interpreter = interpreter
        self._inputs = inputs
        self._outputs = outputs
        self._keeps_state = keeps_state
        details = {entry["index"]: entry for entry in interpreter.get_input_details()}
        self._shapes = {name: tuple(int(size) for size in details[index]["shape"]) for name, index in inputs.items()}
        self._declared = [_declared(name, details[index]) for name, index in inputs.items()]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        checked = checked_inputs(self._declared, inputs)
        self._resize(checked)
        for name, index in self._inputs.items():
            self._interpreter.set_tensor(index, checked[name])
        self._interpreter.invoke()
        # get_tensor copies: nothing that the caller keeps is a view of the arena.
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def _resize(self, inputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Allocate anew where a free dimension has got another size than in the call before."""
        shapes = {name: array.shape for name, array in inputs.items()}
        if shapes == self._shapes:
            return
        changed = {name: shape for name, shape in shapes.items() if shape != self._shapes.get(name)}
        self._shapes = {}
        try:
            for name, shape in changed.items():
                self._interpreter.resize_tensor_input(self._inputs[name], shape, strict=True)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"LiteRT can't take inputs of these sizes: {error}") from error
        self._shapes = shapes

    def reset(self) -> None:
        """Set the file's variables to what a sequence starts from; nothing where it has none."""
        if self._keeps_state:
            self._interpreter.get_signature_runner(_RESET)()

    def close(self) -> None:
        del self._interpreter


def open_model(path: Path, *, threads: int) -> Runtime:
    """The TFLite file, its tensors allocated, ready to run with that many threads.

    Names are those of the file's signature; a file without one goes by the names of its tensors. A signature ``reset``
    beside it sets the file's state back.

    Raises:
        ValueError: LiteRT can't load the file or allocate its tensors; the message has its reason.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"LiteRT can't load '{path.name}': {error}") from error
    signatures = interpreter._get_full_signature_list()  # noqa: SLF001 - the public list leaves out the tensors' indices
    keeps_state = len(signatures) > 1 and signatures.pop(_RESET, None) is not None
    if len(signatures) > 1:
        raise ValueError(f"'{path.name}' has {len(signatures)} signatures: expected one, got {', '.join(signatures)}")
    for signature in signatures.values():
        return _Signature(interpreter, dict(signature["inputs"]), dict(signature["outputs"]), keeps_state=keeps_state)
    inputs = {entry["name"]: entry["index"] for entry in interpreter.get_input_details()}
    outputs = {entry["name"]: entry["index"] for entry in interpreter.get_output_details()}
    return _Signature(interpreter, inputs, outputs)


def _declared(name: str, entry: dict[str, object]) -> Declared:
    signature = entry["shape_signature"]
    if not isinstance(signature, np.ndarray):
        raise TypeError(f"shape of input '{name}' is not an array: got {signature!r}")
    shape = tuple(f"?{axis}" if size < 0 else int(size) for axis, size in enumerate(signature))
    return Declared(name, np.dtype(entry["dtype"]).name, shape)  # type: ignore[call-overload]  # LiteRT gives a numpy type
