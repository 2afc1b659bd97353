from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import onnx
import pytest
from onnx import helper

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "kind": {"const": "fail"},
        "level": {"const": "error"},
        "message": TEXT,
        "locations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["physicalLocation"],
                "properties": {
                    "physicalLocation": {
                        "type": "object",
                        "required": ["artifactLocation"],
                        "additionalProperties": False,
                        "properties": {
                            "artifactLocation": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {"uri": {"type": "string"}, "index": {"const": 0}},
                            }
                        },
                    },
                    "logicalLocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {key: {"type": "string"} for key in ("name", "fullyQualifiedName", "kind")},
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
RULE = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "shortDescription": TEXT, "defaultConfiguration": {"type": "object"}},
    "additionalProperties": False,
}
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "semanticVersion": {"type": "string"},
                                    "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "columnKind": {"const": "unicodeCodePoints"},
                    "artifacts": {"type": "array", "uniqueItems": True},
                    "results": {"type": "array", "items": RESULT},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""What SARIF 2.1.0 says of the properties that we write; none of them is ours but those in `properties`."""


def save(path: Path, *operators: str, domain: str = "") -> None:
    """A chain of operators, each a node named for its place."""
    nodes, current = [], "x"
    for index, operator in enumerate(operators):
        output = "y" if index == len(operators) - 1 else f"v{index}"
        own = domain if operator == "Novelty" else ""
        nodes.append(helper.make_node(operator, [current], [output], name=f"n{index}", domain=own))
        current = output
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 3])],
        [helper.make_tensor_value_info("y", 1, ["n"] if "Det" in operators else ["n", 3, 3])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def rules(log: dict[str, Any]) -> list[str]:
    return [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]


def test_a_model_that_every_target_takes_exits_0(pack: Pack, tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", "Relu", "Tanh")
    ran = pack("explain", "m.onnx", "-t", "cloud", "-t", "edge-arm")
    assert ran.code == 0, ran.err
    assert "cloud: takes all of 2 nodes" in ran.out
    assert pack("explain", "m.onnx", "-t", "edge-arm", "-t", "cloud", "-o", "tag").out == "edge-arm\ncloud\n"


def test_every_node_that_a_target_can_not_take_is_named_with_its_reason(pack: Pack, tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", "Relu", "Det", "Relu", "Gelu")
    ran = pack("explain", "m.onnx", "-t", "edge-arm", "-t", "cloud", "-o", "json")
    assert ran.code == 3, ran.err
    edge, cloud = ran.document["targets"]
    assert [(found["node"], found["operator"]) for found in cloud["obstacles"]] == [("n3", "Gelu")]
    assert "opset 17 of 'ai.onnx' has no such operator" in cloud["obstacles"][0]["reason"]
    assert edge["target"] == "edge-arm"
    assert edge["obstacles"][0]["code"] == "edge-arm.unsupported"


def test_two_nodes_of_one_kind_are_two_findings(pack: Pack, tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", "Novelty", "Relu", "Novelty", domain="com.example")
    ran = pack("explain", "m.onnx", "-t", "cloud")
    assert ran.code == 3
    assert "2 of 3 nodes can't be taken" in ran.out
    assert "n0 (com.example.Novelty)" in ran.out
    assert "n2 (com.example.Novelty)" in ran.out
    assert ran.out.count("without custom operators") == 1


def test_a_build_names_the_same_nodes(pack: Pack, tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", "Novelty", "Relu", "Novelty", domain="com.example")
    ran = pack("--model", "m.onnx", "-t", "cloud")
    assert ran.code == 3
    assert "n0 (com.example.Novelty): onnxruntime has no such operator" in ran.err
    assert "n2 (com.example.Novelty)" in ran.err


def test_findings_are_written_as_sarif(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    save(tmp_path / "models" / "my net.onnx", "Novelty", "Relu", "Novelty", domain="com.example")
    ran = pack("explain", "models/my net.onnx", "-t", "cloud", "-t", "edge-arm", "--sarif", "out.sarif")
    assert ran.code == 3
    log = json.loads((tmp_path / "out.sarif").read_text())
    jsonschema.Draft202012Validator(SARIF).validate(log)
    assert rules(log) == ["cloud.unsupported", "edge-arm.unsupported"]
    results = log["runs"][0]["results"]
    assert len(results) == 4
    assert all(rules(log)[result["ruleIndex"]] == result["ruleId"] for result in results)
    prints = {result["partialFingerprints"]["obstacle/v1"] for result in results}
    assert len(prints) == 4
    [location] = results[0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "models/my%20net.onnx"
    assert location["logicalLocations"][0]["name"] == "n0"


def test_a_log_without_findings_says_that_there_are_none(pack: Pack, tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", "Relu")
    assert pack("explain", "m.onnx", "-t", "cloud", "--sarif", "out.sarif").code == 0
    log = json.loads((tmp_path / "out.sarif").read_text())
    jsonschema.Draft202012Validator(SARIF).validate(log)
    assert log["runs"][0]["results"] == []


def test_in_a_project_its_inputs_and_targets_apply(pack: Pack, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Expand", ["x", "size"], ["y"], name="widen")],
        "widened",
        [helper.make_tensor_value_info("x", 1, [1, 3]), helper.make_tensor_value_info("size", 7, [2])],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.graph.output[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    for name in ("rows", "columns"):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = name
    onnx.save(model, tmp_path / "m.onnx")
    text = "[model]\nname = 'm'\nsource = 'm.onnx'\n[targets.edge-arm]\n"
    (tmp_path / "pack.toml").write_text(text)
    assert pack("explain").code == 3
    (tmp_path / "pack.toml").write_text(text + "[model.inputs.size]\nvalue = [4, 3]\n")
    ran = pack("explain")
    assert ran.code == 0, ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx", "-t", "cloud"], "no model at 'missing.onnx'"),
        (["m.onnx", "-t", "clowd"], "unknown target 'clowd'"),
        (["m.onnx", "-t", "cloud", "--sarif", "no/such/place"], "can't be written"),
        ([], "pack.toml' can't be read"),
    ],
)
def test_what_can_not_be_asked_exits_2(pack: Pack, tmp_path: Path, arguments: list[str], message: str) -> None:
    save(tmp_path / "m.onnx", "Relu")
    ran = pack("explain", *arguments)
    assert ran.code == 2
    assert message in ran.err
