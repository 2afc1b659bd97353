"""What a server answers instead of tensors."""

from __future__ import annotations


class RequestError(Exception):
    """The request is not one that this model takes: HTTP 400, gRPC INVALID_ARGUMENT."""


class BusyError(Exception):
    """More requests wait than may: HTTP 503, gRPC RESOURCE_EXHAUSTED."""


class InferenceError(Exception):
    """The model failed on inputs that fit its signature: HTTP 500, gRPC INTERNAL."""
