from __future__ import annotations

from onnx import helper

from packager.hub.refusals import with_reasons
from targets._target import Finding
from tests.packager.hub.test_passes import graph_of


def test_a_finding_says_what_stood_in_the_way_of_the_pass_that_would_have_helped() -> None:
    nodes = [
        helper.make_node("Normalizer", ["x"], ["n"], name="norm", domain="ai.onnx.ml", norm="MAX"),
        helper.make_node("FusedMatMul", ["n", "n"], ["m"], name="product", domain="com.microsoft", transBatchA=1),
        helper.make_node("Det", ["m"], ["y"], name="det"),
    ]
    model = graph_of(nodes, {"y": []})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    encoded = model.SerializeToString()
    findings = [
        Finding(node=name, operator=operator, reason="no such operator")
        for name, operator in (
            ("norm", "ai.onnx.ml.Normalizer"), ("product", "com.microsoft.FusedMatMul"), ("det", "Det")
        )
    ]  # fmt: skip
    first, second, third = with_reasons(findings, model)
    assert first.reason.startswith("no such operator; tensor operators can't stand for it: whether the norm 'MAX'")
    assert second.reason.endswith("a batch is transposed with its rows")
    assert second.hint == "give the model as it was before onnxruntime optimized or quantized it"
    assert third == findings[2]
    assert model.SerializeToString() == encoded
