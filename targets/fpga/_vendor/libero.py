"""What hls4ml 1.3 leaves undone in a project for SmartHLS that comes from ONNX."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from targets.fpga._vendor.vendors import PROJECT

_STEPS = (
    "write_project_dir",
    "write_project_cpp",
    "write_project_header",
    "write_weights",
    "write_defines",
    "write_parameters",
    "write_test_bench",
    "write_bridge",
    "write_nnet_utils",
    "write_generated_code",
)
"""Those of its writer's ``write_hls``, its build scripts apart."""
_COPY_OUT = re.compile(
    r"(?P<head>(?P<array>\w+)_array_t (?P<struct>\w+);\n\s*for \(unsigned i = 0; i < )[0-9*]+(?P<rest>; i\+\+\) \{)"
)


def write_libero(graph: Any) -> None:  # noqa: ANN401 - hls4ml ships no types
    """Write the project of hls4ml's graph for its backend ``Libero``.

    hls4ml looks for inputs and outputs by the layers' names, which those of a graph from ONNX are not; without the
    struct around each it stops. Its function then copies out as many numbers as the input has.
    """
    from hls4ml.backends.libero.passes.transform_types import TransformTypes
    from hls4ml.model.types import StructWrapperVariable

    types = TransformTypes()
    ports = {*graph.inputs, *graph.outputs}
    for layer in graph.get_layers():
        for name, variable in list(layer.variables.items()):
            if name in ports:
                wrapped = StructWrapperVariable(variable)
                layer.set_attr(name, types.input_fifo_var_converter.convert(wrapped, pragma="partition"))
    writer = graph.config.backend.writer
    for step in _STEPS:
        getattr(writer, step)(graph)
    with contextlib.suppress(FileNotFoundError):
        writer.write_build_script(graph)  # the last thing it writes is the one that is missing
    folder = Path(graph.config.get_output_dir())
    (folder / "Makefile.compile").unlink(missing_ok=True)
    (size,) = {variable.size() for variable in graph.get_output_variables()}
    top = folder / "firmware" / f"{PROJECT}.cpp"
    top.write_text(_COPY_OUT.sub(rf"\g<head>{size}\g<rest>", top.read_text()))
