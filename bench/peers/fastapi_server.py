"""The least that one writes by hand: FastAPI over onnxruntime, the Open Inference Protocol's JSON in and out."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
application = FastAPI()


class Tensor(BaseModel):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    """All inputs."""

    inputs: list[Tensor]


@application.post("/v2/models/digits/infer")
def infer(request: Request) -> dict[str, object]:
    """Run the model."""
    given = {entry.name: np.array(entry.data, np.float32).reshape(entry.shape) for entry in request.inputs}
    names = [entry.name for entry in session.get_outputs()]
    return {
        "model_name": "digits",
        "outputs": [
            {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
            for name, array in zip(names, session.run(names, given), strict=True)
        ],
    }


if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
