"""skl2onnx's container as a place for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.importers._graph import ML_DOMAIN, ML_OPSET, OPSET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Scope

    from packager.importers._graph import Attribute


class ScopeSink:
    """What is added goes into skl2onnx's container."""

    def __init__(self, scope: Scope, container: ModelComponentContainer) -> None:
        self._scope = scope
        self._container = container

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        place: int = 0,
    ) -> str:
        domain, _, kind = operator.rpartition(".")
        name = cast("str", self._scope.get_unique_variable_name(kind))
        self._container.add_node(
            kind,
            list(inputs),
            [*(self._scope.get_unique_variable_name("unread") for _ in range(place)), name],
            op_domain=domain,
            op_version={"": OPSET, ML_DOMAIN: ML_OPSET}.get(domain, 1),
            name=self._scope.get_unique_operator_name(kind),
            **(attributes or {}),
        )
        return name

    def constant(self, array: NDArray[np.generic]) -> str:
        import onnx

        name = cast("str", self._scope.get_unique_variable_name("constant"))
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        self._container.add_initializer(name, kind, list(array.shape), array.reshape(-1).tolist())
        return name
