"""Why a pass left a node that a target then names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packager.hub.lower_ml import declined
from packager.hub.split_fused import DOMAIN, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from targets._target import Finding

_HINT = "give the model as it was before onnxruntime optimized or quantized it"


def with_reasons(findings: Sequence[Finding], prepared: onnx.ModelProto) -> list[Finding]:
    """A target's findings in a prepared model, with what stood in the way of the pass that would have helped.

    The model stays as it is.
    """
    import onnx

    if not any("." in finding.operator for finding in findings):
        return list(findings)
    copy = onnx.ModelProto()
    copy.CopyFrom(prepared)
    known = {(entry.node, entry.operator): entry.reason for entry in [*declined(prepared), *split(copy)]}
    return [_with_reason(finding, known.get((finding.node, finding.operator), "")) for finding in findings]


def _with_reason(finding: Finding, reason: str) -> Finding:
    if reason:
        reason = f"{finding.reason}; tensor operators can't stand for it: {reason}"
    hint = _HINT if finding.operator.startswith(f"{DOMAIN}.") else ""
    return msgspec.structs.replace(finding, reason=reason or finding.reason, hint=finding.hint or hint)
