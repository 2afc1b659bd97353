"""The Open Inference Protocol, version 2, over gRPC.

The messages are built from a table instead of generated code, which would tie the installed protobuf to the one that
generated it. Names and numbers are those of the protocol's ``open_inference_grpc.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from packager.serving import EXTENSIONS, version
from packager.serving.errors import BusyError, InferenceError, RequestError
from packager.serving.openapi import metadata
from packager.serving.tensors import DATATYPES, check_complete, check_tensor, from_raw, to_raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TensorSection
    from packager.serving.server import Served

SERVICE = "inference.GRPCInferenceService"
_STATUS = {
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    BusyError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    InferenceError: grpc.StatusCode.INTERNAL,
}
# name: (number, type, repeated); a type in capitals is a message of this table.
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool", False)},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool", False)},
    "ModelReadyRequest": {"name": (1, "string", False), "version": (2, "string", False)},
    "ModelReadyResponse": {"ready": (1, "bool", False)},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {
        "name": (1, "string", False),
        "version": (2, "string", False),
        "extensions": (3, "string", True),
    },
    "ModelMetadataRequest": {"name": (1, "string", False), "version": (2, "string", False)},
    "ModelMetadataResponse.TensorMetadata": {
        "name": (1, "string", False),
        "datatype": (2, "string", False),
        "shape": (3, "int64", True),
    },
    "ModelMetadataResponse": {
        "name": (1, "string", False),
        "versions": (2, "string", True),
        "platform": (3, "string", False),
        "inputs": (4, "ModelMetadataResponse.TensorMetadata", True),
        "outputs": (5, "ModelMetadataResponse.TensorMetadata", True),
    },
    "InferTensorContents": {
        "bool_contents": (1, "bool", True),
        "int_contents": (2, "int32", True),
        "int64_contents": (3, "int64", True),
        "uint_contents": (4, "uint32", True),
        "uint64_contents": (5, "uint64", True),
        "fp32_contents": (6, "float", True),
        "fp64_contents": (7, "double", True),
        "bytes_contents": (8, "bytes", True),
    },
    "ModelInferRequest.InferInputTensor": {
        "name": (1, "string", False),
        "datatype": (2, "string", False),
        "shape": (3, "int64", True),
        "contents": (5, "InferTensorContents", False),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string", False)},
    "ModelInferRequest": {
        "model_name": (1, "string", False),
        "model_version": (2, "string", False),
        "id": (3, "string", False),
        "inputs": (5, "ModelInferRequest.InferInputTensor", True),
        "outputs": (6, "ModelInferRequest.InferRequestedOutputTensor", True),
        "raw_input_contents": (7, "bytes", True),
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": (1, "string", False),
        "datatype": (2, "string", False),
        "shape": (3, "int64", True),
        "contents": (5, "InferTensorContents", False),
    },
    "ModelInferResponse": {
        "model_name": (1, "string", False),
        "model_version": (2, "string", False),
        "id": (3, "string", False),
        "outputs": (5, "ModelInferResponse.InferOutputTensor", True),
        "raw_output_contents": (6, "bytes", True),
    },
}
_CONTENTS = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}
"""Where each dtype's values stand when they are not raw; float16 has no place."""


def messages() -> dict[str, Any]:
    """The protocol's message classes by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="packtrain/open_inference.proto", package="inference", syntax="proto3"
    )
    built: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.partition(".")
        if inner:
            parent = built.setdefault(outer, descriptor_pb2.DescriptorProto(name=outer))
            message = parent.nested_type.add(name=inner)
        else:
            message = built.setdefault(name, descriptor_pb2.DescriptorProto(name=name))
        for field, (number, kind, repeated) in fields.items():
            _add_field(message, field, number, kind, repeated=repeated)
    file.message_type.extend(built.values())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES
    }


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, *, repeated: bool) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number)
    field.label = proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
    if kind in _MESSAGES:
        field.type, field.type_name = proto.TYPE_MESSAGE, f".inference.{kind}"
    else:
        field.type = proto.Type.Value(f"TYPE_{kind.upper()}")


class _Service:
    """The six methods, over one server."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._types = messages()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server is given."""
        methods: dict[str, Callable[..., Any]] = {
            "ServerLive": self.live,
            "ServerReady": self.ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.infer,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    method,
                    request_deserializer=self._types[f"{name}Request"].FromString,
                    response_serializer=self._types[f"{name}Response"].SerializeToString,
                )
                for name, method in methods.items()
            },
        )

    async def live(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - the messages are made at run time
        del request, context
        return self._types["ServerLiveResponse"](live=True)

    async def ready(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - likewise
        del request, context
        return self._types["ServerReadyResponse"](ready=self._served.ready)

    async def model_ready(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - likewise
        await self._check(request.name, request.version, context)
        return self._types["ModelReadyResponse"](ready=self._served.ready)

    async def metadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - likewise
        del request, context
        return self._types["ServerMetadataResponse"](name="packtrain", version=version(), extensions=EXTENSIONS)

    async def model_metadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - likewise
        await self._check(request.name, request.version, context)
        return self._types["ModelMetadataResponse"](**metadata(self._served.manifest))

    async def infer(self, request: Any, context: Any) -> Any:  # noqa: ANN401 - likewise
        await self._check(request.model_name, request.model_version, context)
        try:
            outputs, manifest = await self._served.infer(_inputs(request, self._served.manifest.signature))
            wanted = _wanted(request, list(outputs))
        except (RequestError, BusyError, InferenceError) as error:
            await context.abort(_STATUS[type(error)], str(error))
        chosen = {name: outputs[name] for name in wanted}
        return self._types["ModelInferResponse"](
            model_name=manifest.bundle.name,
            model_version=manifest.bundle.version,
            id=request.id,
            outputs=[
                {"name": name, "datatype": _datatype(array), "shape": array.shape} for name, array in chosen.items()
            ],
            raw_output_contents=[to_raw(array) for array in chosen.values()],
        )

    async def _check(self, name: str, wanted: str, context: Any) -> None:  # noqa: ANN401 - likewise
        bundle = self._served.manifest.bundle
        if name != bundle.name or wanted not in {"", bundle.version}:
            text = f"no model '{name}': this server has {bundle.name}:{bundle.version}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)


async def start_rpc(served: Served, address: str) -> tuple[grpc.aio.Server, int]:
    """A running gRPC server, and its port.

    Raises:
        OSError: the address can't be had.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", served.limits.body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    server.add_generic_rpc_handlers((_Service(served).handlers(),))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}") from error
    await server.start()
    return server, port


def _wanted(request: Any, known: list[str]) -> list[str]:  # noqa: ANN401 - likewise
    """The names of the outputs that are asked for; all where none is."""
    wanted = [entry.name for entry in request.outputs]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RequestError(f"unknown output '{unknown[0]}': expected {', '.join(known)}")
    return wanted or known


def _datatype(array: NDArray[np.generic]) -> str:
    return "BYTES" if array.dtype.kind in "OU" else DATATYPES[array.dtype.name]


def _inputs(request: Any, signature: SignatureSection) -> dict[str, NDArray[np.generic]]:  # noqa: ANN401 - likewise
    known = {entry.name: entry for entry in signature.inputs}
    raws = list(request.raw_input_contents)
    if raws and len(raws) != len(request.inputs):
        raise RequestError(f"expected raw contents for all {len(request.inputs)} inputs, got {len(raws)}")
    taken: dict[str, NDArray[np.generic]] = {}
    for place, tensor in enumerate(request.inputs):
        entry = known.get(tensor.name)
        if entry is None:
            raise RequestError(f"unknown input '{tensor.name}': expected {', '.join(known)}")
        if tensor.name in taken:
            raise RequestError(f"input '{tensor.name}' is given twice")
        shape = list(tensor.shape)
        check_tensor(tensor.name, tensor.datatype, shape, entry)
        taken[tensor.name] = (
            from_raw(tensor.name, raws[place], entry, shape) if raws else _from_contents(tensor, entry, shape)
        )
    check_complete(taken, signature)
    return taken


def _from_contents(tensor: Any, entry: TensorSection, shape: list[int]) -> NDArray[np.generic]:  # noqa: ANN401 - likewise
    place = _CONTENTS.get(entry.dtype)
    if place is None:
        raise RequestError(f"input '{tensor.name}': {tensor.datatype} goes as raw contents only")
    values = getattr(tensor.contents, place)
    if entry.dtype == "string":
        try:
            values = [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise RequestError(f"input '{tensor.name}': a text is not UTF-8: {error.reason}") from error
    try:
        array = np.array(values, dtype=object if entry.dtype == "string" else entry.dtype)
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"input '{tensor.name}': data is not {tensor.datatype} of {shape}: {error}") from error
