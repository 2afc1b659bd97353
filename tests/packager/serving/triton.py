"""Triton's own clients, run where they are installed: asks a server of ``scale:1`` and prints what they understood."""

from __future__ import annotations

import json
import sys

import numpy as np

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def by_http(address: str) -> dict[str, object]:
    """Raw tensors in, one raw and one in JSON out."""
    from tritonclient import http

    given = [http.InferInput("x", X.shape, "FP32"), http.InferInput("kind", [2], "INT64")]
    given[0].set_data_from_numpy(X, binary_data=True)
    given[1].set_data_from_numpy(np.array([0, 1]), binary_data=True)
    wanted = [http.InferRequestedOutput("y", binary_data=True), http.InferRequestedOutput("flag", binary_data=False)]
    with http.InferenceServerClient(address) as client:
        answer = client.infer("scale", given, outputs=wanted)
        ready = [client.is_server_ready(), client.is_model_ready("scale")]
    return {"ready": ready, "y": answer.as_numpy("y").tolist(), "flag": answer.as_numpy("flag").tolist()}


def by_grpc(address: str) -> dict[str, object]:
    """Raw tensors both ways, and two requests that are refused."""
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    given = [grpc.InferInput("x", X.shape, "FP32"), grpc.InferInput("kind", [2], "INT64")]
    given[0].set_data_from_numpy(X)
    given[1].set_data_from_numpy(np.array([0, 1]))
    refused = []
    with grpc.InferenceServerClient(address) as client:
        ready = [client.is_server_live(), client.is_model_ready("scale", "1")]
        shape = list(client.get_model_metadata("scale").inputs[0].shape)
        answer = client.infer("scale", given)
        for model, inputs in (("other", given), ("scale", given[:1])):
            try:
                client.infer(model, inputs)
            except InferenceServerException as error:
                refused.append(str(error))
    return {
        "ready": ready,
        "shape": shape,
        "y": answer.as_numpy("y").tolist(),
        "flag": answer.as_numpy("flag").tolist(),
        "refused": refused,
    }


if __name__ == "__main__":
    print(json.dumps({"http": by_http(sys.argv[1]), "grpc": by_grpc(sys.argv[2])}))  # noqa: T201 - its result
