"""PyTorch: exported programs (.pt2), and TorchScript where it is trusted; weights alone are refused."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._framework import BATCH, first_line, framework_predictor
from packager.importers._importer import Imported
from packager.importers._torch_files import describe_script, kind_of, open_archive, pickled_classes, some
from packager.importers._torch_program import write_safe_copy
from packager.importers._torch_script import read_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from packager.importers._importer import Arrays, Options

DISTRIBUTIONS = ("onnxscript", "torch")
EXTRA = TOOLCHAIN = "torch"
TOLERANCE = 1e-3
OPSET = 18
"""Of onnxscript's own operators, which need no conversion."""
_EXPORT = (
    "torch.export.save(torch.export.export(model.eval(), (sample,), dynamic_shapes=({0: Dim('N')},)), 'model.pt2')"
)
"""What turns a module into a program."""


def find_model(path: Path) -> Path | None:
    """The file itself, or the only one in the folder; MLflow's folder has it below ``data``."""
    if not path.is_dir():
        return path if kind_of(path) is not None else None
    for folder in (path, path / "data"):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        inside = [entry for entry in entries if entry.is_file() and kind_of(entry) is not None]
        if len(inside) == 1:
            return inside[0]
    return None


def read_model(path: Path, options: Options) -> Imported:
    """The program as ONNX: inputs and outputs by its names, dimensions as free as it was exported with."""
    kind = kind_of(path)
    if kind in {"pickle", "safetensors"}:
        raise _no_graph(path, "weights without a graph" if kind == "safetensors" else _pickled(path))
    if kind == "script":
        if not options.trusted:
            raise _untrusted(path)
        return read_script(path, options)
    if kind == "old-program" and not options.trusted:
        raise ConversionError(
            "import.code",
            f"'{path.name}' is of PyTorch before 2.9 and holds pickles, which run code when they are read",
            hint="export it again with a newer PyTorch; or, where you know who made it, set trusted = true in [model]",
        )
    return _import(path, _load(path, trusted=options.trusted))


def _pickled(path: Path) -> str:
    classes = pickled_classes(path)
    if classes:
        return f"pickled objects of classes whose code is elsewhere: {some(classes)}"
    return "a state dict, weights without a graph"


def _no_graph(path: Path, what: str) -> ConversionError:
    return ConversionError(
        "import.weights",
        f"'{path.name}' holds {what}",
        hint=f"load it in the code that defines the model, and export that: {_EXPORT}",
    )


def _untrusted(path: Path) -> ConversionError:
    script = describe_script(path)
    reaching = f", among them {some(script.reaching)}" if script.reaching else ""
    return ConversionError(
        "import.code",
        f"'{path.name}' is TorchScript, a program that runs when it is read: {len(script.classes)} classes "
        f"({some(script.classes)}) that call {len(script.operators)} operators{reaching}",
        hint=f"export it: {_EXPORT}; or, where you know who made it, set trusted = true in [model]",
    )


def _load(path: Path, *, trusted: bool) -> Any:  # noqa: ANN401 - an ExportedProgram
    import torch

    open_archive(path).close()
    with tempfile.TemporaryDirectory() as folder:
        given = path
        if not trusted:
            given = Path(folder, "model.pt2")
            write_safe_copy(path, given)
        try:
            return torch.export.load(given)
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            EOFError,
            LookupError,
            NotImplementedError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ConversionError(
                "import.torch", f"PyTorch {torch.__version__} can't load '{path.name}': {first_line(error)}"
            ) from error


def _import(path: Path, program: Any) -> Imported:  # noqa: ANN401 - an ExportedProgram
    import torch
    from torch.export.graph_signature import InputKind, TensorArgument
    from torch.utils import _pytree as pytree

    arguments = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    names = [argument.name for argument in arguments if isinstance(argument, TensorArgument)]
    model = _convert(path, program)
    outputs = _name_outputs(model, program)
    _tidy(model)
    module = program.module(check_guards=False)

    def predict(arrays: Arrays) -> Mapping[str, Any]:
        given = [
            torch.from_numpy(arrays[argument.name]) if isinstance(argument, TensorArgument) else argument.value
            for argument in arguments
        ]
        positional, named = pytree.tree_unflatten(given, program.call_spec.in_spec)
        with torch.no_grad():
            results = pytree.tree_leaves(module(*positional, **named))
        return dict(zip(outputs, (result.numpy() for result in results), strict=True))

    if [entry.name for entry in model.graph.input] != names:
        raise ConversionError(
            "import.torch",
            f"'{path.name}' takes what is no tensor: expected the inputs {', '.join(names)}, "
            f"got {', '.join(entry.name for entry in model.graph.input)}",
            hint="export a module that takes tensors alone",
        )
    return Imported(model, task=TaskSection(), predict=framework_predictor(model, predict))


def _convert(path: Path, program: Any) -> onnx.ModelProto:  # noqa: ANN401 - an ExportedProgram
    import torch
    from torch.onnx import OnnxExporterError

    try:
        exported = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)
    except (OnnxExporterError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConversionError(
            "import.torch",
            f"PyTorch {torch.__version__} can't express '{path.name}' in ONNX: {_cause(error)}",
        ) from error
    return cast("onnx.ModelProto", exported.model_proto)


def _cause(error: BaseException) -> str:
    """The last error of the chain: the exporter wraps it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error) if isinstance(error, Exception) else str(error)


def _name_outputs(model: onnx.ModelProto, program: Any) -> list[str]:  # noqa: ANN401 - an ExportedProgram
    """Give the outputs the keys of the dictionary that the module returns; else they keep the names in its graph."""
    from torch.utils import _pytree as pytree

    specification = program.call_spec.out_spec
    places = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(specification.num_leaves)), specification))
    keys = [[str(getattr(step, "key", "")) for step in place] for place, _ in places[0]]
    if all(key and all(key) for key in keys):
        _rename(model, [".".join(key) for key in keys])
    return [entry.name for entry in model.graph.output]


def _rename(model: onnx.ModelProto, names: list[str]) -> None:
    """Through nodes of its own: an output may be an input, or come twice."""
    import onnx

    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {e.name for e in graph.input}
    for entry, name in zip(graph.output, names, strict=True):
        if entry.name == name:
            continue
        if name in taken:
            _move(graph, name, next(free for count in itertools.count(1) if (free := f"{name}.{count}") not in taken))
        graph.node.append(onnx.helper.make_node("Identity", [entry.name], [name], name=f"output/{name}"))
        entry.name = name


def _move(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call an inner value by another name."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for entry in (*graph.value_info, *graph.initializer):
        if entry.name == old:
            entry.name = new


def _tidy(model: onnx.ModelProto) -> None:
    """Call the free first dimension by one name, and forget paths and lines of the code that was exported."""
    for entry in model.graph.input:
        first = entry.type.tensor_type.shape.dim
        if first and first[0].dim_param:
            _call(model, first[0].dim_param, BATCH)
            break
    parts = [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]
    for part in (*parts, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.graph.name = "model"


def _call(model: onnx.ModelProto, old: str, new: str) -> None:
    for entry in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in entry.type.tensor_type.shape.dim:
            if dimension.dim_param == old:
                dimension.dim_param = new
