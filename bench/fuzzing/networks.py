"""Small models of TensorFlow and PyTorch to damage, made where these are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def keras_models(suffix: str) -> Callable[[Path], None]:
    """Writes Keras models: a convolution, a recurrence, a Lambda layer."""

    def make(folder: Path) -> None:
        import keras

        layers = keras.layers
        keras.Sequential(
            [
                keras.Input((6, 6, 2), name="picture"),
                layers.Conv2D(3, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2, activation="softmax"),
            ]
        ).save(folder / f"convolution.{suffix}")
        first, second = keras.Input((4,), name="first"), keras.Input((5, 3), name="second")
        joined = layers.Concatenate()([first, layers.LSTM(3)(second)])
        keras.Model([first, second], {"a": layers.Dense(2)(joined), "b": joined}).save(folder / f"several.{suffix}")
        doubled = layers.Lambda(lambda values: values * 2, name="twice")
        keras.Sequential([keras.Input((4,)), doubled]).save(folder / f"lambda.{suffix}")

    return make


def saved_models(folder: Path) -> None:
    """Writes SavedModels: a signature over a variable, and control flow."""
    import tensorflow as tf

    module = _module()
    for name, function in (("line", module.line), ("loop", module.loop)):
        tf.saved_model.save(module, str(folder / name), signatures=function)


def frozen_graphs(folder: Path) -> None:
    """Writes the same as frozen graphs."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    module = _module()
    for name, function in (("line", module.line), ("loop", module.loop)):
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        graph = frozen.graph.as_graph_def()
        (folder / f"{name}.pb").write_bytes(graph.SerializeToString(deterministic=True))


def programs(folder: Path) -> None:
    """Writes exported programs of PyTorch: a convolution, and one with two inputs and a dictionary."""
    import torch

    for name, program in _programs().items():
        torch.export.save(program, folder / f"{name}.pt2")


def scripts(folder: Path) -> None:
    """Writes traced modules, and weights alone."""
    import torch

    module, samples = _modules()["convolution"]
    torch.jit.trace(module.eval(), samples).save(str(folder / "traced.pt"))
    torch.save(module.state_dict(), folder / "weights.pt")


def keep_operators() -> None:
    """Read PyTorch's table of operators once: each export reads it anew, with the source of 500 functions.

    Exports fill other tables as well, which a process then has from the start.
    """
    import torch
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    from packager.importers.torch import OPSET

    read = functools.cache(ONNXRegistry.from_torchlib)
    read(opset_version=OPSET)
    ONNXRegistry.from_torchlib = staticmethod(read)  # type: ignore[method-assign]  # the same, in less time
    for program in _programs().values():
        torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)


def _module() -> Any:  # noqa: ANN401 - a tf.Module
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def line(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.nn.softmax(x @ self.weights)}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def loop(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for _ in tf.range(3):
                x = tf.tanh(x) * 2.0
            return {"y": x}

    return Module()


def _programs() -> dict[str, Any]:
    import torch

    batch = {0: torch.export.Dim("batch")}
    return {
        name: torch.export.export(module.eval(), samples, dynamic_shapes=(batch,) * len(samples))
        for name, (module, samples) in _modules().items()
    }


def _modules() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    import torch
    from torch import nn

    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(7, 3)

        def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
            joined = torch.cat([first, second], 1)
            return {"scores": torch.softmax(self.line(joined), -1), "sum": joined.sum(1)}

    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return {
        "convolution": (convolution, (torch.randn(2, 2, 6, 6),)),
        "several": (Several(), (torch.randn(2, 4), torch.randn(2, 3))),
    }
