"""A runtime for MLServer that is as thin as its documentation shows: onnxruntime, one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

if TYPE_CHECKING:
    from mlserver.types import InferenceRequest


class OnnxModel(MLModel):
    """The model of the settings' `uri`."""

    async def load(self) -> bool:
        """Open the file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = self.settings.parameters.uri
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run it."""
        given = {entry.name: NumpyCodec.decode_input(entry).astype(np.float32) for entry in payload.inputs}
        names = [entry.name for entry in self._session.get_outputs()]
        results = self._session.run(names, given)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(names, results, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
