"""Nets that are born in Keras, each as ONNX and as TensorFlow's own converter makes them; run where TensorFlow is.

    python bench/keras_peers.py FOLDER

They have the shapes of MLPerf Tiny's four reference nets, and one of a phone's size. Weights are drawn from a fixed
seed: a latency does not depend on them. Writes NAME.onnx and NAME.tflite.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def keyword_spotting(layers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - Keras has no types
    """A depthwise separable net on 49 frames of 10 coefficients."""
    given = layers.Input((49, 10, 1), batch_size=1)
    x = _normal(layers, layers.Conv2D(64, (10, 4), strides=2, padding="same")(given))
    for _ in range(4):
        x = _normal(layers, layers.DepthwiseConv2D(3, padding="same")(x))
        x = _normal(layers, layers.Conv2D(64, 1)(x))
    x = layers.AveragePooling2D((25, 5))(x)
    return given, layers.Dense(12, activation="softmax")(layers.Flatten()(x))


def wake_words(layers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - likewise
    """A quarter of MobileNet on 96 x 96 pictures."""
    given = layers.Input((96, 96, 3), batch_size=1)
    x = _normal(layers, layers.Conv2D(8, 3, strides=2, padding="same")(given))
    for filters, stride in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]:
        x = _normal(layers, layers.DepthwiseConv2D(3, strides=stride, padding="same")(x))
        x = _normal(layers, layers.Conv2D(filters, 1)(x))
    x = layers.AveragePooling2D(3)(x)
    return given, layers.Dense(2, activation="softmax")(layers.Flatten()(x))


def resnet8(layers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - likewise
    """Three residual stacks on 32 x 32 pictures."""
    given = layers.Input((32, 32, 3), batch_size=1)
    x = _normal(layers, layers.Conv2D(16, 3, padding="same")(given))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = _normal(layers, layers.Conv2D(filters, 3, strides=stride, padding="same")(x))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if stride > 1:
            x = layers.Conv2D(filters, 1, strides=stride, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.AveragePooling2D(8)(x)
    return given, layers.Dense(10, activation="softmax")(layers.Flatten()(x))


def anomaly_detection(layers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - likewise
    """An autoencoder of dense layers on 640 values."""
    given = x = layers.Input((640,), batch_size=1)
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = _normal(layers, layers.Dense(width)(x))
    return given, layers.Dense(640)(x)


def phone(layers: Any) -> tuple[Any, Any]:  # noqa: ANN401 - likewise
    """MobileNetV3-Small on 224 x 224 pictures: hard swish, squeeze and excitation."""
    import keras

    given = layers.Input((224, 224, 3), batch_size=1)
    net = keras.applications.MobileNetV3Small(input_tensor=given, weights=None, include_preprocessing=False)
    return given, net.output


def _normal(layers: Any, x: Any) -> Any:  # noqa: ANN401 - likewise
    return layers.ReLU()(layers.BatchNormalization()(x))


NETS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "keyword-spotting": keyword_spotting,
    "visual-wake-words": wake_words,
    "resnet8": resnet8,
    "anomaly-detection": anomaly_detection,
    "mobilenet-v3-small": phone,
}


def main(folder: Path) -> None:
    """Write each net in both forms."""
    import keras
    import tensorflow as tf
    import tf2onnx

    for name, net in NETS.items():
        keras.utils.set_random_seed(1)
        given, made = net(keras.layers)
        model = keras.Model(given, made)
        (folder / f"{name}.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        function = tf.function(lambda x, model=model: model(x, training=False))
        spec = (tf.TensorSpec(given.shape, tf.float32, name="x"),)
        tf2onnx.convert.from_function(function, input_signature=spec, opset=17, output_path=folder / f"{name}.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
