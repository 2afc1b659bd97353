"""Runs in TensorFlow's environment: writes the models that tests import, each under its name."""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

L = keras.layers


def sequential(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential(list(layers))


def several() -> keras.Model:
    first, second = keras.Input((4,), name="first"), keras.Input((3,), name="second")
    joined = L.Concatenate()([first, second])
    outputs = {"scores": L.Dense(3, activation="softmax")(joined), "value": L.Dense(1)(joined)}
    return keras.Model({"first": first, "second": second}, outputs)


def operators() -> keras.Model:
    taken = keras.Input((3,), name="taken")
    return keras.Model(taken, keras.ops.relu(taken * 2) + keras.ops.sum(taken, axis=1, keepdims=True))


def attention() -> keras.Model:
    taken = keras.Input((6, 8), name="taken")
    return keras.Model(taken, L.LayerNormalization(name="out")(L.MultiHeadAttention(2, 4)(taken, taken)))


def keras_models() -> dict[str, keras.Model]:
    return {
        "convolution": sequential(
            keras.Input((16, 16, 3), name="picture"),
            L.Rescaling(1 / 255.0),
            L.Conv2D(4, 3, padding="same", strides=2),
            L.BatchNormalization(),
            L.ReLU(6.0),
            L.DepthwiseConv2D(3),
            L.GlobalAveragePooling2D(),
            L.Dense(3, activation="softmax", name="scores"),
        ),
        "recurrent": sequential(
            keras.Input((None, 3), name="steps"),
            L.Bidirectional(L.LSTM(5, return_sequences=True)),
            L.GRU(4),
            L.Dense(2, name="out"),
        ),
        "words": sequential(keras.Input((12,), dtype="int32", name="words"), L.Embedding(20, 6), L.LSTM(4, name="out")),
        "error-function": sequential(keras.Input((5,), name="taken"), L.Dense(4, activation="gelu", name="out")),
        "captured": sequential(
            keras.Input((4,), name="taken"),
            L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4]),
            L.Dense(2, name="out"),
        ),
        "fixed-batch": sequential(keras.Input(batch_shape=(2, 4), name="taken"), L.Dense(2, name="out")),
        "several": several(),
        "operators": operators(),
        "attention": attention(),
    }


def write_keras(folder: Path) -> None:
    for name, model in keras_models().items():
        model.save(folder / f"{name}.keras")
    keras.saving.load_model(folder / "convolution.keras").save(folder / "convolution.h5")
    doubled = sequential(keras.Input((4,), name="taken"), L.Lambda(lambda values: values * 2, name="twice"))
    doubled.save(folder / "lambda.keras")
    doubled.save(folder / "lambda.h5")
    text = sequential(keras.Input((1,), dtype="string", name="words"), L.StringLookup(vocabulary=["a", "b"]))
    text.save(folder / "text.keras")
    keras.Sequential([L.Dense(2)]).save(folder / "shapeless.keras")


def write_hostile(folder: Path) -> None:
    content = (folder / "convolution.h5").read_bytes()
    (folder / "cut.h5").write_bytes(content[: len(content) // 2])
    (folder / "linked.h5").write_bytes(content)
    with h5py.File(folder / "linked.h5", "a") as file:
        file["stolen"] = h5py.ExternalLink("/etc/passwd", "/")
    (folder / "outside.h5").write_bytes(content)
    with h5py.File(folder / "outside.h5", "a") as file:
        file.create_dataset("stolen", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    (folder / "bomb.h5").write_bytes(content)
    with h5py.File(folder / "bomb.h5", "a") as file:
        file.create_dataset("bomb", (1 << 32,), "u1", compression="gzip", fillvalue=0)
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        file["stolen"] = h5py.ExternalLink("/etc/passwd", "/")
    with zipfile.ZipFile(folder / "convolution.keras") as source, zipfile.ZipFile(folder / "linked.keras", "w") as sink:
        for name in source.namelist():
            sink.writestr(name, inner.getvalue() if name.endswith(".h5") else source.read(name))
    with zipfile.ZipFile(folder / "operators.keras") as source, zipfile.ZipFile(folder / "unknown.keras", "w") as sink:
        for name in source.namelist():
            content = source.read(name)
            sink.writestr(name, content.replace(b'"Relu"', b'"NoSuchLayer"') if name == "config.json" else content)


class Module(tf.Module):
    """Two signatures over a variable."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def line(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x @ self.weights}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="a")])
    def curve(self, a: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"q": tf.exp(a @ self.weights), "p": tf.reduce_sum(a, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def loop(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in tf.range(3):
            x = tf.tanh(x) * 2.0
        return {"y": x}


class Leaking(tf.Module):
    """Writes a file whenever it is run."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def leak(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.io.write_file("/nowhere/at/all", "leaked")]):
            return {"y": x + 1.0}


def write_old(folder: Path) -> None:
    """A SavedModel as TensorFlow 1 writes it."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        taken = v1.placeholder(tf.float32, [None, 3], name="taken")
        weights = v1.get_variable("weights", initializer=np.ones((3, 2), np.float32), use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "old"), {"taken": taken}, {"out": taken @ weights})


def write_dangling(folder: Path) -> None:
    """A SavedModel that calls a function which it does not hold."""
    shutil.copytree(folder / "two", folder / "dangling")
    place = folder / "dangling" / "saved_model.pb"
    stored = saved_model_pb2.SavedModel.FromString(place.read_bytes())
    library = stored.meta_graphs[0].graph_def.library.function
    del library[[entry.signature.name.startswith("__inference__traced_save") for entry in library].index(True)]
    place.write_bytes(stored.SerializeToString())


def write_saved(folder: Path) -> None:
    module, leaking = Module(), Leaking()
    tf.saved_model.save(module, str(folder / "two"), signatures={"serving_default": module.line, "curve": module.curve})
    tf.saved_model.save(module, str(folder / "ambiguous"), signatures={"line": module.line, "curve": module.curve})
    tf.saved_model.save(leaking, str(folder / "leaking"), signatures=leaking.leak)
    write_old(folder)
    for name, function in (("frozen", module.line), ("loop", module.loop), ("leaking", leaking.leak)):
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        (folder / f"{name}.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    write_dangling(folder)
    (folder / "cut.pb").write_bytes((folder / "frozen.pb").read_bytes()[:-20])


def write_models(folder: Path) -> None:
    tf.get_logger().setLevel("ERROR")
    keras.utils.set_random_seed(7)
    write_keras(folder)
    write_hostile(folder)
    write_saved(folder)


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
    json.dump({}, sys.stdout)
