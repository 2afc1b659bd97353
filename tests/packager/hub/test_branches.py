from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.hub import convert_opset, fold_branches, remove_identities
from tests.packager.hub.test_passes import X, form, graph_of, run

if TYPE_CHECKING:
    import onnx

YES, NO = np.ones((), dtype=bool), np.zeros((), dtype=bool)


def branch(name: str, nodes: list[onnx.NodeProto], output: str, **constants: np.ndarray) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        name,
        [],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )


def choice(condition: str, output: str = "y") -> onnx.NodeProto:
    """x + 1 if so, else x * 2; both call their values by the same names."""
    return helper.make_node(
        "If",
        [condition],
        [output],
        then_branch=branch("then", [helper.make_node("Add", ["x", "k"], ["r"])], "r", k=np.float32([1])),
        else_branch=branch("else", [helper.make_node("Mul", ["x", "k"], ["r"])], "r", k=np.float32([2])),
    )


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("condition", "operator"), [(True, "Add"), (False, "Mul")])
def test_only_the_branch_that_is_taken_remains(*, condition: bool, operator: str) -> None:
    model = graph_of([choice("c")], {"y": ["N", 4]}, constants={"c": np.array(condition)})
    expected = run(model)
    folded = remove_identities.run(fold_branches.run(model, form()), form())
    assert operators(folded) == [operator, "Identity"]  # which gives the output its name
    np.testing.assert_array_equal(run(folded)[0], expected[0])


def test_two_branches_with_the_same_names_inside_do_not_mix() -> None:
    nodes = [
        choice("c", "a"),
        choice("d", "b"),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    ]
    model = graph_of(nodes, {"y": ["N", 4]}, constants={"c": YES, "d": NO})
    folded = remove_identities.run(fold_branches.run(model, form()), form())
    assert operators(folded) == ["Add", "Mul", "Sub"]
    np.testing.assert_allclose(run(folded)[0], X + 1 - X * 2)


def test_a_branch_inside_of_a_branch_is_folded_too_and_one_with_a_computed_condition_stays() -> None:
    inner = branch("inner", [choice("yes", "r")], "r", yes=YES)
    other = branch("other", [helper.make_node("Neg", ["x"], ["r"])], "r")
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["computed"]),
        helper.make_node("If", ["computed"], ["y"], then_branch=inner, else_branch=other),
    ]
    model = graph_of(nodes, {"y": ["N", 4]}, constants={"zero": np.float32(0)})
    folded = fold_branches.run(model, form())
    assert operators(folded) == ["ReduceMax", "Greater", "If"]
    assert [node.op_type for node in folded.graph.node[2].attribute[1].g.node if node.op_type != "Identity"] != ["If"]
    np.testing.assert_array_equal(run(folded)[0], X + 1)
    np.testing.assert_array_equal(run(folded, -np.abs(X))[0], np.abs(X))


def test_a_condition_that_a_caller_may_override_is_not_known() -> None:
    model = graph_of([choice("c")], {"y": ["N", 4]}, constants={"c": YES})
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert operators(fold_branches.run(model, form())) == ["If"]


def test_dropout_goes_unless_it_trains_or_its_mask_is_read() -> None:
    nodes = [
        helper.make_node("Dropout", ["x", "rate"], ["a"]),
        helper.make_node("Dropout", ["a", "rate", "no"], ["b"]),
        helper.make_node("Dropout", ["b"], ["c", "mask"]),
        helper.make_node("Cast", ["mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "kept"], ["d"]),
        helper.make_node("Dropout", ["d", "none", "yes"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    constants = {
        "rate": np.float32(0.5), "none": np.float32(0), "no": NO, "yes": YES,
    }  # fmt: skip
    model = graph_of(nodes, {"y": ["N", 4]}, constants=constants)
    cleaned = remove_identities.run(model, form())
    assert operators(cleaned) == ["Dropout", "Cast", "Mul", "Dropout", "Relu"]
    np.testing.assert_array_equal(run(cleaned)[0], np.maximum(X, 0))


def test_an_identity_around_which_a_subgraph_reads_is_taken_out_there_too() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("ReduceMax", ["same"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["computed"]),
        helper.make_node(
            "If",
            ["computed"],
            ["y"],
            then_branch=branch("then", [helper.make_node("Abs", ["same"], ["r"])], "r"),
            else_branch=branch("else", [helper.make_node("Neg", ["same"], ["r"])], "r"),
        ),
    ]
    model = graph_of(nodes, {"y": ["N", 4]}, constants={"zero": np.float32(0)})
    cleaned = remove_identities.run(model, form())
    assert not remove_identities.ensures(cleaned, form())
    np.testing.assert_array_equal(run(cleaned)[0], np.abs(X))


@pytest.mark.parametrize("version", [11, 12, 13])
def test_the_nodes_of_a_subgraph_are_brought_to_the_opset_too(version: int) -> None:
    then = branch("then", [helper.make_node("ReduceSum", ["x", "axes"], ["r"])], "r", axes=np.array([1]))
    other = branch(
        "other", [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("ReduceMax", ["s"], ["r"])], "r"
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["computed"]),
        helper.make_node("If", ["computed"], ["y"], then_branch=then, else_branch=other),
    ]
    model = graph_of(nodes, {"y": ["A", "B"]}, constants={"zero": np.float32(0)})
    expected = [run(model)[0], run(model, -np.abs(X))[0]]
    converted = convert_opset.run(model, form(version, version))
    np.testing.assert_allclose(run(converted)[0], expected[0])
    np.testing.assert_allclose(run(converted, -np.abs(X))[0], expected[1])
