from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from manifests.manifest import TaskSection, TensorSection
from manifests.pipeline import InputPipeline, OutputPipeline, PipelineSection
from packager.clients.description import describe
from packager.clients.languages._language import LanguageName, open_language
from packager.clients.reference import interpreted, prepared
from packager.clients.vectors import make_vectors
from packager.errors import ConfigError
from packager.pipeline import prepare_input
from tests.packager.clients.bundles import bundle_of, golden_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from manifests.bundle import Bundle
    from packager.clients.vectors import Stored

PYTHON = open_language(LanguageName.PYTHON)


def golden(**arrays: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    named = {name.replace("__", "."): array for name, array in arrays.items()}
    np.savez(stream, **named)  # type: ignore[arg-type]  # its stub takes the names for its own options
    return stream.getvalue()


def read(data: bytes, stored: Stored) -> NDArray[np.generic]:
    return np.frombuffer(data[stored.offset :][: stored.size], stored.dtype).reshape(stored.shape)


def scores_of(bundle: Bundle, scores: NDArray[np.generic]) -> list[list[int]]:
    """Indices of the classes that are selected, position by position."""
    (output,) = describe(bundle, PYTHON, {}).outputs
    _, found = interpreted(output, scores)
    positions = max((each.position for each in found), default=-1) + 1
    return [[each.index for each in found if each.position == position] for position in range(positions)]


def output_of(after: OutputPipeline | None, shape: tuple[int | str, ...] = ("n", 3)) -> Bundle:
    entry = TensorSection(name="y", dtype="float32", shape=shape)
    pipeline = PipelineSection(outputs=(after,) if after else ())
    return bundle_of([TensorSection(name="x", dtype="float32", shape=("n", 2))], [entry], pipeline=pipeline)


@pytest.mark.parametrize(
    "step",
    [
        InputPipeline(input="x", dtype="uint8", layout="nhwc", scale=(1 / 255,), mean=(0.1, 0.2, 0.3), std=(0.5,)),
        InputPipeline(input="x", dtype="int16", mean=(3.0, 2.0, 1.0)),
        InputPipeline(input="x", layout="hwcn"),
        InputPipeline(input="x", std=(2.0, 4.0, 8.0), layout="cnhw"),
    ],
    ids=["picture", "mean", "layout", "std"],
)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_inputs_are_prepared_as_the_packager_prepares_them_where_it_fuses(step: InputPipeline, dtype: str) -> None:
    entry = TensorSection(name="x", dtype=dtype, shape=("n", 3, 4, 5), layout="nchw")  # type: ignore[arg-type]  # one of its names
    bundle = bundle_of([entry], [entry], pipeline=PipelineSection(inputs=(step,)))
    (described,) = describe(bundle, PYTHON, {}).inputs
    sizes = {"n": 2, "c": 3, "h": 4, "w": 5}
    shape = [sizes[axis] for axis in step.layout or "nchw"]
    raw = np.random.default_rng(0).integers(0, 100, shape).astype(described.raw)
    np.testing.assert_allclose(prepared(described, raw), prepare_input(step, entry, raw), rtol=1e-6)


def test_of_equal_scores_the_first_comes_first() -> None:
    scores = np.array([[1, 2, 2], [3, 3, 3]], np.float32)
    assert scores_of(output_of(OutputPipeline(output="y", select="argmax")), scores) == [[1], [0]]
    assert scores_of(output_of(OutputPipeline(output="y", select="top", top=2)), scores) == [[1, 2], [0, 1]]
    above = OutputPipeline(output="y", select="threshold", threshold=2.0)
    assert scores_of(output_of(above), scores) == [[1, 2], [0, 1, 2]]


def test_positions_run_along_the_axes_that_are_left() -> None:
    scores = np.array([[[0, 9], [5, 0], [1, 1]]], np.float32)
    assert scores_of(output_of(OutputPipeline(output="y", axis=1, select="argmax"), ("n", 3, 2)), scores) == [[1], [0]]


def test_a_classifier_without_a_pipeline_answers_with_its_labels() -> None:
    entry = TensorSection(name="y", dtype="float32", shape=("n", 3))
    task = TaskSection(kind="classification", output="y", labels=("a", "b", "c"))
    (output,) = describe(bundle_of([entry], [entry], task=task), PYTHON, {}).outputs
    assert (output.select, output.labels, output.classes) == ("argmax", ("a", "b", "c"), "y_classes")


def test_labels_of_a_file_are_taken() -> None:
    bundle = output_of(OutputPipeline(output="y", select="argmax", labels_file="model.onnx"))
    (output,) = describe(bundle, PYTHON, {"model.onnx": ("a", "b", "c")}).outputs
    assert output.labels == ("a", "b", "c")


def test_text_that_should_be_scaled_is_refused() -> None:
    entry = TensorSection(name="x", dtype="string", shape=("n",))
    steps = PipelineSection(inputs=(InputPipeline(input="x", scale=(2.0,)),))
    with pytest.raises(ConfigError, match="'x' is text"):
        describe(bundle_of([entry], [entry], pipeline=steps), PYTHON, {})


def test_samples_go_in_calls_of_the_fixed_batch_the_last_one_filled_up() -> None:
    entry = TensorSection(name="x", dtype="float32", shape=(2, 1))
    bundle = bundle_of([entry], [entry])
    rows = np.array([[1], [2], [3]], np.float32)
    vectors, data = make_vectors(
        describe(bundle, PYTHON, {}), bundle.manifest, golden(input__x=rows, expected__x=-rows)
    )
    given = [read(data, call.inputs[0]).ravel().tolist() for call in vectors.calls]
    due = [read(data, call.outputs[0].due).ravel().tolist() for call in vectors.calls]
    assert given == [[1, 2], [3, 3]]
    assert due == [[-1, -2], [-3, -3]]


def test_labels_are_not_compared_where_two_scores_are_too_close() -> None:
    scores = TensorSection(name="scores", dtype="float32", shape=("n", 2))
    label = TensorSection(name="label", dtype="int64", shape=("n",))
    task = TaskSection(kind="classification", output="scores")
    bundle = bundle_of([scores], [scores, label], task=task)
    arrays = golden(
        input__scores=np.zeros((2, 2), np.float32),
        expected__scores=np.array([[0.5, 0.5001], [0.9, 0.1]], np.float32),
        expected__label=np.array([1, 0]),
    )
    vectors, data = make_vectors(describe(bundle, PYTHON, {}), bundle.manifest, arrays)
    (call,) = vectors.calls
    assert call.outputs[0].compared is None
    assert call.outputs[1].compared is not None
    assert read(data, call.outputs[1].compared).tolist() == [0, 1]


def test_vectors_are_the_same_every_time() -> None:
    bundle = output_of(OutputPipeline(output="y", activation="softmax", select="argmax"))
    client, samples = describe(bundle, PYTHON, {}), golden_of(bundle)
    assert make_vectors(client, bundle.manifest, samples) == make_vectors(client, bundle.manifest, samples)
