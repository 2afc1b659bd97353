"""Several functions in one package: each for its own sizes of free dimensions, all with the same weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from targets._target import TargetError

if TYPE_CHECKING:
    import onnx

    from targets.coreml import Options

_CODE = "coreml.functions"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def functions(options: Options, model: onnx.ModelProto) -> dict[str, Options]:
    """The options of each function by its name, the default first; ``main`` alone where none are asked for.

    Raises:
        TargetError: the release has no such packages, or what is asked for fits neither them nor the model
            (``coreml.functions``).
    """
    if not options.functions:
        return {"main": options}
    if options.minimum != "ios18":
        raise TargetError(
            _CODE, f"{options.minimum} has one function a package", hint='set targets.coreml.minimum = "ios18"'
        )
    if options.classifier:
        raise TargetError(_CODE, "a classifier has one function", hint="leave targets.coreml.classifier out")
    free = {
        size.dim_param for entry in model.graph.input for size in entry.type.tensor_type.shape.dim if size.dim_param
    }
    found = {}
    for name, sizes in options.functions.items():
        if not _NAME.fullmatch(name):
            raise TargetError(_CODE, f"function '{name}' has no name for Core ML: expected letters, digits and '_'")
        unknown = sorted(sizes.keys() - free)
        if unknown:
            known = ", ".join(sorted(free)) or "none"
            raise TargetError(
                _CODE, f"function '{name}' gives a size to '{unknown[0]}': expected a free dimension, of {known}"
            )
        dimensions = {**options.dimensions, **sizes}
        found[name] = msgspec.structs.replace(options, dimensions=dimensions, functions={})
    return found
