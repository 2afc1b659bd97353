from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import helper

from manifests.manifest import SignatureSection, TaskSection, TensorSection
from packager.errors import ConfigError, ConversionError
from packager.signatures import model_signature
from packager.tasks import complete_task

if TYPE_CHECKING:
    from manifests.section import DType

    Output = tuple[str, DType, tuple[int | str, ...]]

CLASSIFIER = TaskSection(kind="classification")
LABEL: Output = ("label", "int64", ("N",))
WIDE: Output = ("embedding", "float32", ("N", 64))


def signature(*outputs: Output) -> SignatureSection:
    made = tuple(TensorSection(name=name, dtype=dtype, shape=shape) for name, dtype, shape in outputs)
    return SignatureSection(inputs=(), outputs=made)


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ((LABEL, ("probabilities", "float32", ("N", 3))), "probabilities"),
        ((LABEL, ("y", "float64", ("N", 2))), "y"),
        ((LABEL, ("confidence", "float32", ("N",)), ("y", "float16", ("N", 3))), "y"),
        ((LABEL, ("y", "float32", ("N",))), "y"),
        ((WIDE, LABEL, ("class_scores", "float32", ("N", 3))), "class_scores"),
    ],
)
def test_of_several_outputs_the_one_that_holds_the_scores_is_chosen_and_told(
    outputs: tuple[Output, ...], chosen: str
) -> None:
    task, (note,) = complete_task(CLASSIFIER, TaskSection(), signature(*outputs))
    assert task.output == chosen
    assert f"'{chosen}' is taken for the scores" in note


@pytest.mark.parametrize(
    "outputs",
    [
        (WIDE, ("y", "float32", ("N", 3))),
        (("logits", "float32", ("N", 3)), ("probabilities", "float32", ("N", 3))),
        (LABEL, ("count", "int64", ("N", 3))),
    ],
)
def test_where_no_output_or_several_may_hold_the_scores_all_are_named(outputs: tuple[Output, ...]) -> None:
    with pytest.raises(ConfigError, match=", ".join(name for name, _, _ in outputs)) as caught:
        complete_task(CLASSIFIER, TaskSection(), signature(*outputs))
    assert "output in the table [model.task]" in caught.value.hint


def test_an_output_that_is_named_or_the_only_one_or_a_regressors_first_is_taken_without_a_word() -> None:
    two = signature(WIDE, LABEL)
    named = complete_task(TaskSection(kind="classification", output="label"), TaskSection(), two)
    assert (named[0].output, named[1]) == ("label", ())
    imported = complete_task(CLASSIFIER, TaskSection(kind="classification", output="label", labels=("a", "b")), two)
    assert (imported[0].output, imported[0].labels, imported[1]) == ("label", ("a", "b"), ())
    single = complete_task(CLASSIFIER, TaskSection(), signature(LABEL))
    assert (single[0].output, single[1]) == ("label", ())
    regressor = complete_task(TaskSection(kind="regression"), TaskSection(), two)
    assert (regressor[0].output, regressor[1]) == ("embedding", ())


def test_an_output_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of embedding, label, got 'y'"):
        complete_task(TaskSection(kind="classification", output="y"), TaskSection(), signature(WIDE, LABEL))


def test_what_pack_toml_leaves_open_is_what_the_importer_found() -> None:
    found = TaskSection(kind="regression", output="y")
    assert complete_task(TaskSection(), found, signature(WIDE, LABEL)) == (found, ())


def test_probabilities_that_are_no_tensor_are_refused_with_how_to_export_them() -> None:
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, None)))
    model = helper.make_model(
        helper.make_graph([], "g", [], [onnx.ValueInfoProto(name="output_probability", type=kind)])
    )
    with pytest.raises(ConversionError, match="'output_probability' is not a tensor") as caught:
        model_signature(model)
    assert "zipmap" in caught.value.hint
