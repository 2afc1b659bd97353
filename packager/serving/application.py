"""The Open Inference Protocol, version 2, over HTTP; beside it the OpenAPI document and Prometheus' figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from packager.serving import EXTENSIONS
from packager.serving import version as version_of_packtrain
from packager.serving.errors import BusyError, InferenceError, RequestError
from packager.serving.metrics import CONTENT_TYPE
from packager.serving.openapi import describe, metadata
from packager.serving.tensors import answer_json, read_json, take_inputs

if TYPE_CHECKING:
    from packager.serving.server import Served

_HEADER = "inference-header-content-length"
"""How many bytes of a body are JSON; the rest is raw tensors."""
_STATUS = {RequestError: 400, BusyError: 503, InferenceError: 500}
_Asked: TypeAlias = Request[None, None, State]


def make_application(served: Served) -> Litestar:
    """The ASGI application of one server."""
    return Litestar(
        [_server, _live, _ready, _model_metadata, _model_ready, _infer, _openapi, _metrics, _telemetry],
        state=State({"served": served}),
        openapi_config=None,
        exception_handlers={HTTPException: _refuse, RequestError: _fail, BusyError: _fail, InferenceError: _fail},
        request_max_body_size=served.limits.body,
    )


@get("/v2")
async def _server() -> dict[str, object]:
    return {"name": "packtrain", "version": version_of_packtrain(), "extensions": list(EXTENSIONS)}


@get("/v2/health/live")
async def _live() -> dict[str, bool]:
    return {"live": True}


@get("/v2/health/ready")
async def _ready(state: State) -> Response[dict[str, bool]]:
    ready = _served(state).ready
    return Response({"ready": ready}, status_code=200 if ready else 503)


@get(["/v2/models/{model:str}", "/v2/models/{model:str}/versions/{version:str}"])
async def _model_metadata(state: State, model: str, version: str | None = None) -> dict[str, object]:
    return metadata(_asked_for(state, model, version).manifest)


@get(["/v2/models/{model:str}/ready", "/v2/models/{model:str}/versions/{version:str}/ready"])
async def _model_ready(state: State, model: str, version: str | None = None) -> Response[dict[str, object]]:
    ready = _asked_for(state, model, version).ready
    return Response({"name": model, "ready": ready}, status_code=200 if ready else 503)


@post(["/v2/models/{model:str}/infer", "/v2/models/{model:str}/versions/{version:str}/infer"], status_code=200)
async def _infer(request: _Asked, state: State, model: str, version: str | None = None) -> Response[bytes]:
    served = _asked_for(state, model, version)
    document, raw = _split(await request.body(), request.headers.get(_HEADER))
    asked = read_json(document)
    outputs, manifest = await served.infer(take_inputs(asked, raw, served.manifest.signature))
    text, data = answer_json(asked, outputs, model=manifest.bundle.name, version=manifest.bundle.version)
    if data is None:
        return Response(text, media_type="application/json")
    return Response(text + data, media_type="application/octet-stream", headers={_HEADER: str(len(text))})


@get("/openapi.json")
async def _openapi(state: State) -> dict[str, object]:
    return describe(_served(state).manifest)


@get("/metrics")
async def _metrics(state: State) -> Response[bytes]:
    served = _served(state)
    return Response(served.metrics.expose(served.waiting), media_type=CONTENT_TYPE)


@get("/telemetry")
async def _telemetry(state: State) -> Response[bytes]:
    return Response(msgspec.json.encode(_served(state).window), media_type="application/json")


def _served(state: State) -> Served:
    return cast("Served", state.served)


def _asked_for(state: State, model: str, version: str | None) -> Served:
    """The server, where it has that model."""
    served = _served(state)
    bundle = served.manifest.bundle
    if model != bundle.name or version not in {None, bundle.version}:
        wanted = model if version is None else f"{model}:{version}"
        raise HTTPException(
            detail=f"no model '{wanted}': this server has {bundle.name}:{bundle.version}", status_code=404
        )
    return served


def _split(body: bytes, header: str | None) -> tuple[bytes, memoryview]:
    """The JSON, and the raw tensors behind it."""
    if header is None:
        return body, memoryview(b"")
    if not header.isdecimal() or int(header) > len(body):
        raise RequestError(f"'{_HEADER}': expected at most {len(body)}, got '{header}'")
    length = int(header)
    return body[:length], memoryview(body)[length:]


def _refuse(_: Request[None, None, State], error: HTTPException) -> Response[bytes]:
    return _error(error.detail, error.status_code)


def _fail(_: Request[None, None, State], error: Exception) -> Response[bytes]:
    return _error(str(error), _STATUS[type(error)])


def _error(text: str, status: int) -> Response[bytes]:
    return Response(msgspec.json.encode({"error": text}), status_code=status, media_type="application/json")
