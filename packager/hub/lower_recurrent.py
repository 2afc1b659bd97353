"""Write LSTM, GRU and RNN by a Scan over steps of simple operators, which `unroll_loops` may lay out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.hub.graph import all_nodes, domain_of, opset
from packager.hub.lowering import lower
from packager.hub.opsets.conversion import convert_version
from packager.hub.recurrent import cells

if TYPE_CHECKING:
    import onnx

    from packager.hub.form import Form
    from packager.hub.lowering import Lowering

_LOWEST = 15
"""The opset from which CastLike is there."""


def requires(form: Form) -> bool:
    """Where recurrent layers may not remain."""
    return not form.needs.recurrent


def run(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """The model without the recurrent layers whose activations and sizes are known.

    Raises:
        ConversionError: the model's operators are too old for it, and can't be brought to newer ones.
    """
    if opset(model) < _LOWEST <= form.needs.opset[1] and any(_chosen(node) for node in all_nodes(model.graph)):
        model = convert_version(model, _LOWEST)
    if opset(model) >= _LOWEST:
        lower(model, _chosen)
    return model


def ensures(model: onnx.ModelProto, form: Form) -> list[str]:
    """Nothing: what its function declined remains, and the target names it."""
    del model, form
    return []


def _chosen(node: onnx.NodeProto) -> Lowering | None:
    return None if domain_of(node.domain) else _LAYERS.get(node.op_type)


_LAYERS: dict[str, Lowering] = {"GRU": cells.gru, "LSTM": cells.lstm, "RNN": cells.rnn}
