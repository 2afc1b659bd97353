"""MLPerf Tiny's nets as ONNX, and as TensorFlow's own converter quantizes them; run where TensorFlow is.

    python bench/mlperf_tensorflow.py NET SOURCE SAMPLES FOLDER

SOURCE is the net's Keras h5 or its SavedModel; SAMPLES an npz whose array `calibration` holds one input a row. Writes
NET.onnx and, where TFLiteConverter takes the source, NET.tflite with int8 inputs and outputs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OPSET = 17


def main(net: str, source: Path, samples: Path, folder: Path) -> None:
    """Write what can be made of one net."""
    import numpy as np

    calibration = np.load(samples)["calibration"]
    if source.is_dir():
        _from_saved(source, calibration, folder / net)
    else:
        _from_keras(source, calibration, folder / net)


def _from_keras(source: Path, calibration: Any, stem: Path) -> None:  # noqa: ANN401 - TensorFlow has no types here
    import onnx
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    class Depthwise(tf.keras.layers.DepthwiseConv2D):  # type: ignore[misc] # TensorFlow has no types here
        """An older Keras wrote a field that this one does not take."""

        def __init__(self, *, groups: int = 1, **fields: object) -> None:
            del groups
            super().__init__(**fields)

    net = tf.keras.models.load_model(source, compile=False, custom_objects={"DepthwiseConv2D": Depthwise})
    given = [tf.TensorSpec(calibration[:1].shape, tf.float32, name="input")]
    call = tf.function(lambda x: net(x, training=False), input_signature=given)
    made, _ = tf2onnx.convert.from_function(call, input_signature=given, opset=OPSET)
    onnx.save(made, f"{stem}.onnx")
    frozen = convert_variables_to_constants_v2(call.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    _quantize(converter, calibration, stem)


def _from_saved(source: Path, calibration: Any, stem: Path) -> None:  # noqa: ANN401 - likewise
    """A SavedModel of an optimizer that TensorFlow no longer loads: read as its first version did."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    old = tf.compat.v1
    old.disable_eager_execution()
    with old.Session(graph=tf.Graph()) as session:
        loaded = old.saved_model.loader.load(session, ["serve"], str(source))
        signature = loaded.signature_def["serving_default"]
        inputs = [entry.name for entry in signature.inputs.values()]
        outputs = [entry.name for entry in signature.outputs.values()]
        nodes = [name.partition(":")[0] for name in outputs]
        graph = old.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), nodes)
        shape = {inputs[0]: list(calibration[:1].shape)}
        made, _ = tf2onnx.convert.from_graph_def(
            graph, input_names=inputs, output_names=outputs, opset=OPSET, shape_override=shape
        )
        onnx.save(made, f"{stem}.onnx")
    frozen = stem.with_suffix(".pb")
    frozen.write_bytes(graph.SerializeToString())
    converter = old.lite.TFLiteConverter.from_frozen_graph(
        str(frozen), [inputs[0].partition(":")[0]], nodes, {inputs[0].partition(":")[0]: list(calibration[:1].shape)}
    )
    _quantize(converter, calibration, stem)


def _quantize(converter: Any, calibration: Any, stem: Path) -> None:  # noqa: ANN401 - likewise
    import tensorflow as tf

    def samples() -> Iterator[list[Any]]:
        for row in calibration:
            yield [row[None]]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    stem.with_suffix(".tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(sys.argv[1], *(Path(argument) for argument in sys.argv[2:5]))
