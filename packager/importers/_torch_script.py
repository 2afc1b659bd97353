"""TorchScript as ONNX, through PyTorch's own exporter of it, which keeps branches and loops."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.manifest import TaskSection
from packager.errors import ConfigError, ConversionError
from packager.importers._framework import BATCH, first_line, framework_predictor
from packager.importers._importer import Imported
from packager.importers._torch_files import open_archive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packager.importers._importer import Arrays, Options

_OPSET = 17
_FREE = 2
"""What stands for a free dimension in the sample that is sent through: 1 would be broadcast."""


def read_script(path: Path, options: Options) -> Imported:
    """The module's ``forward``, its first dimensions free, which runs its code.

    Shapes are those that it was traced with, unless ``[model.inputs]`` says something else.
    """
    import onnx
    import torch

    open_archive(path).close()
    try:
        module = torch.jit.load(str(path), map_location="cpu", _restore_shapes=True).eval()
    except (RuntimeError, ValueError, AttributeError, TypeError, EOFError, OSError) as error:
        raise ConversionError(
            "import.torch", f"PyTorch {torch.__version__} can't load '{path.name}': {first_line(error)}"
        ) from error
    inputs = _inputs(path, module, options)
    samples = [_sample(*entry) for entry in inputs.values()]
    axes = {
        name: {axis: size for axis, size in enumerate(shape) if isinstance(size, str)}
        for name, (shape, _) in inputs.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "model.onnx")
        try:
            with torch.no_grad():
                outputs = _names(module(*samples))
            torch.onnx.export(
                module,
                tuple(samples),
                target,
                dynamo=False,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes={**axes, **({name: {0: BATCH} for name in outputs} if any(axes.values()) else {})},
                opset_version=_OPSET,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ConversionError(
                "import.torch",
                f"PyTorch {torch.__version__} can't express '{path.name}' in ONNX: {first_line(error)}",
                hint="export the module that it was made from as a program: torch.export.save",
            ) from error
        model = onnx.load(target)
    for node in model.graph.node:
        node.doc_string = ""
    model.graph.name = "model"

    def predict(arrays: Arrays) -> Mapping[str, Any]:
        with torch.no_grad():
            results = _tensors(module(*(torch.from_numpy(arrays[name]) for name in inputs)))
        return dict(zip(outputs, (result.numpy() for result in results), strict=True))

    return Imported(model, task=TaskSection(), predict=framework_predictor(model, predict))


def _inputs(path: Path, module: Any, options: Options) -> dict[str, tuple[Sequence[int | str], str]]:  # noqa: ANN401 - a ScriptModule
    """Each input's shape and dtype."""
    import torch

    arguments = module.forward.schema.arguments[1:]
    values = list(module.graph.inputs())[1:]
    for argument in arguments:
        if not isinstance(argument.type, torch.TensorType):
            raise ConversionError(
                "import.torch",
                f"input '{argument.name}' of '{path.name}' is no tensor: got {argument.type}",
                hint="wrap the module in one that fixes it, and export that as a program: torch.export.save",
            )
    found: dict[str, tuple[Sequence[int | str], str]] = {}
    for argument, value in zip(arguments, values, strict=True):
        traced = value.type().sizes() if isinstance(value.type(), torch.TensorType) else None
        shape = options.shapes.get(argument.name) or (None if traced is None else (BATCH, *traced[1:]))
        if shape is None:
            raise ConfigError(
                "config.field",
                f"'model.inputs.{argument.name}.shape' is missing: TorchScript does not say which shape it takes",
                hint=f'add a table [model.inputs.{argument.name}] with such as shape = ["N", 3, 224, 224]',
            )
        found[argument.name] = (shape, options.dtypes.get(argument.name, "float32"))
    return found


def _sample(shape: Sequence[int | str], dtype: str) -> Any:  # noqa: ANN401 - a Tensor
    import torch

    sizes = [size if isinstance(size, int) else _FREE for size in shape]
    return torch.zeros(sizes, dtype=getattr(torch, dtype))


def _names(result: object) -> list[str]:
    count = len(_tensors(result))
    return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]


def _tensors(result: object) -> list[Any]:
    """The tensors of what a module returns, in its exporter's order."""
    from torch.utils import _pytree as pytree

    return list(pytree.tree_leaves(result))
