"""Serving a bundle: the Open Inference Protocol over HTTP and gRPC, metrics, batching, and a swap without a pause."""

EXTENSIONS = ("binary_tensor_data",)
"""Of the protocol: tensors as raw bytes behind the JSON."""


def version() -> str:
    """The installed version of packtrain."""
    from importlib import metadata

    return metadata.version("packtrain")
