"""TensorFlow's SavedModels, of either version, and frozen graphs (.pb), through tf2onnx."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from manifests.manifest import TaskSection
from packager.errors import ConfigError, ConversionError
from packager.importers._files import first_bytes
from packager.importers._framework import first_line, framework_predictor
from packager.importers._importer import Imported
from packager.importers._tensorflow import (
    DISTRIBUTIONS,
    EXTRA,
    TOLERANCE,
    TOOLCHAIN,
    convert,
    freeze,
)
from packager.importers._tensorflow_ops import check_calls, refuse_reaching

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packager.importers._importer import Arrays, Options

__all__ = ["DISTRIBUTIONS", "EXTRA", "TOLERANCE", "TOOLCHAIN", "find_model", "read_model"]

SIZE_LIMIT = 2**31 - 1
"""Of all files of the model, in bytes: an ONNX file can't hold more."""
_FILE = "saved_model.pb"
_DEFAULT = "serving_default"
_TAG = "serve"
_SAVED_MODEL = b"\x08\x01\x12"
"""Schema version 1, and the first graph: saved_model.proto."""
_NODE, _NAME, _OPERATOR = 0x0A, 0x0A, 0x12
"""Tags of ``GraphDef.node``, and in it of ``name`` and ``op``: graph.proto, node_def.proto."""
_HEAD = 4096
_VARINT = 0x80
"""The bit of a byte after which a number goes on."""
_SHORTEST_NODE = 8
_NO_RESULT = frozenset({"Assert", "Const", "NoOp", "Placeholder"})
_READY = ("saved_model_main_op", "legacy_init_op", "__saved_model_init_op")
"""Where a SavedModel names what is run once it is loaded: tensorflow/cc/saved_model/constants.h."""


def find_model(path: Path) -> Path | None:
    """The SavedModel's folder (MLflow's has it below ``data/model``), or the file of a frozen graph."""
    if not path.is_dir():
        if path.name == _FILE and _is_saved_model(path):
            return path.parent
        return path if _is_graph(path) else None
    for folder in (path, path / "data" / "model", path / "model"):
        if _is_saved_model(folder / _FILE):
            return folder
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_file() and _is_graph(entry)]
    return inside[0] if len(inside) == 1 else None


def read_model(path: Path, options: Options) -> Imported:
    """The chosen signature as ONNX, or a frozen graph from its placeholders to what nothing else takes."""
    files = [entry for entry in path.rglob("*") if entry.is_file()] if path.is_dir() else [path]
    size = sum(entry.stat().st_size for entry in files)
    if size > SIZE_LIMIT:
        raise ConversionError("import.size", f"model is too large: expected at most {SIZE_LIMIT} bytes, got {size}")
    if path.is_dir():
        return _read_saved_model(path, options)
    if options.signature:
        raise ConfigError("config.field", "'model.signature': a frozen graph has no signatures", hint="leave it out")
    return _read_graph(path, options)


def _read_saved_model(path: Path, options: Options) -> Imported:
    """Through a session, as TensorFlow 1 loads it: TensorFlow 2 also wants the objects of Python that saved it."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    described = _parse(path / _FILE, saved_model_pb2.SavedModel())
    graphs = [graph for graph in described.meta_graphs if _TAG in graph.meta_info_def.tags]
    if len(graphs) != 1:
        raise ConversionError(
            "import.savedmodel", f"expected one graph with the tag '{_TAG}' in '{path.name}', got {len(graphs)}"
        )
    (graph,) = graphs
    known = sorted(name for name in graph.signature_def if not name.startswith("__"))
    signature = graph.signature_def[_choose(known, options.signature)]
    check_calls(path.name, graph.graph_def)
    refuse_reaching(path.name, graph.graph_def, _run(graph, signature), _restored(graph), trusted=options.trusted)
    with _loading(path.name), tf.Graph().as_default():
        session = tf.compat.v1.Session()
        tf.compat.v1.saved_model.load(session, [_TAG], str(path))
    return _import(
        session,
        {name: entry.name for name, entry in sorted(signature.inputs.items())},
        {name: entry.name for name, entry in sorted(signature.outputs.items())},
    )


def _read_graph(path: Path, options: Options) -> Imported:
    import tensorflow as tf

    graph = _parse(path, tf.compat.v1.GraphDef())
    taken = {entry.removeprefix("^").partition(":")[0] for node in graph.node for entry in node.input}
    # Frozen functions of loops leave placeholders that nothing takes.
    inputs = [node.name for node in graph.node if node.op == "Placeholder" and node.name in taken]
    outputs = [node.name for node in graph.node if node.name not in taken and node.op not in _NO_RESULT]
    if not inputs or not outputs:
        raise ConversionError("import.savedmodel", f"'{path.name}' has no placeholder, or computes nothing from it")
    if any(node.op in {"VarHandleOp", "VariableV2", "Variable"} for node in graph.node):
        raise ConversionError(
            "import.savedmodel",
            f"'{path.name}' has variables whose values it does not hold",
            hint="export it as a SavedModel, or freeze its variables",
        )
    check_calls(path.name, graph)
    refuse_reaching(path.name, graph, outputs, (), trusted=options.trusted)
    with _loading(path.name), tf.Graph().as_default():
        tf.import_graph_def(graph, name="")
        session = tf.compat.v1.Session()
    return _import(session, {name: f"{name}:0" for name in inputs}, {name: f"{name}:0" for name in outputs})


def _import(session: Any, inputs: dict[str, str], outputs: dict[str, str]) -> Imported:  # noqa: ANN401 - a v1 Session
    """From names to tensors."""
    import tensorflow as tf

    graph = session.graph
    with _loading("the graph"):
        with graph.as_default():
            results = {name: tf.identity(graph.get_tensor_by_name(tensor)) for name, tensor in outputs.items()}
            constant = tf.compat.v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(add_shapes=True), [result.op.name for result in results.values()]
            )
        frozen = freeze(_function(constant, inputs.values(), results.values()), tuple(inputs), tuple(outputs))
    shapes = {name: None if result.shape.rank is None else result.shape.as_list() for name, result in results.items()}
    converted = convert(frozen, shapes)

    def predict(arrays: Arrays) -> Mapping[str, Any]:
        fed = {inputs[name]: array for name, array in arrays.items()}
        return dict(zip(outputs, session.run(list(outputs.values()), fed), strict=True))

    return Imported(converted, task=TaskSection(), predict=framework_predictor(converted, predict))


def _function(graph: Any, inputs: Iterable[str], outputs: Iterable[Any]) -> Any:  # noqa: ANN401 - of TensorFlow
    """A concrete function of a GraphDef: calls within it are only taken apart where a function is frozen."""
    import tensorflow as tf

    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    fed = [wrapped.graph.get_tensor_by_name(name) for name in inputs]
    return wrapped.prune(fed, [wrapped.graph.get_tensor_by_name(result.name) for result in outputs])


def _choose(known: list[str], wanted: str) -> str:
    if wanted and wanted not in known:
        raise ConfigError(
            "config.field", f"'model.signature': expected one of {', '.join(known) or 'none'}, got '{wanted}'"
        )
    if wanted or _DEFAULT in known:
        return wanted or _DEFAULT
    if len(known) != 1:
        raise ConfigError(
            "config.field",
            f"can't tell which signature is meant: the model has {', '.join(known) or 'none'}",
            hint="name it in [model] signature" if known else "export it with signatures: model.export(FOLDER)",
        )
    return known[0]


def _run(graph: Any, signature: Any) -> set[str]:  # noqa: ANN401 - MetaGraphDef, SignatureDef
    """The nodes that are run: those of the outputs, and what makes the model ready."""
    names = {entry.name for entry in signature.outputs.values()}
    for key in _READY:
        names.update(entry.name for entry in graph.signature_def[key].outputs.values() if key in graph.signature_def)
        if key in graph.collection_def:
            names.update(graph.collection_def[key].node_list.value)
    return {name.partition(":")[0] for name in names}


def _restored(graph: Any) -> set[str]:  # noqa: ANN401 - MetaGraphDef
    return {graph.saver_def.restore_op_name.partition(":")[0]}


def _parse(path: Path, message: Any) -> Any:  # noqa: ANN401 - a protobuf message, whose classes TensorFlow generates
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ConversionError("import.savedmodel", f"'{path.name}' is damaged: {error}") from error
    return message


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    import tensorflow as tf

    try:
        yield
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, AttributeError, tf.errors.OpError) as error:
        raise ConversionError(
            "import.savedmodel", f"TensorFlow {tf.__version__} can't load {name}: {first_line(error)}"
        ) from error


def _is_saved_model(path: Path) -> bool:
    return path.is_file() and first_bytes(path, len(_SAVED_MODEL)) == _SAVED_MODEL


def _is_graph(path: Path) -> bool:
    """Whether it begins with a node: a name, and then an operator."""
    head = first_bytes(path, _HEAD)
    if len(head) < _SHORTEST_NODE or head[0] != _NODE:
        return False
    place = 1
    while place < len(head) and head[place] & _VARINT:
        place += 1
    name = place + 1
    if head[name : name + 1] != bytes([_NAME]) or head[name + 1 : name + 2] >= bytes([_VARINT]):
        return False
    operator = name + 2 + head[name + 1]
    return head[operator : operator + 1] == bytes([_OPERATOR]) and head[operator + 2 : operator + 3].isalpha()
