"""The OpenAPI document of one served model, made from its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from packager.serving.tensors import DATATYPES

if TYPE_CHECKING:
    from manifests.manifest import Manifest, TensorSection

Json: TypeAlias = "dict[str, object]"

_KINDS = {"bool": "boolean", "string": "string"}


def describe(manifest: Manifest) -> Json:
    """OpenAPI 3.1: each input and output with its name, type, shape and range."""
    bundle = manifest.bundle
    model = f"/v2/models/{bundle.name}"
    error = {"description": "Why there is no answer", "content": _json({"$ref": "#/components/schemas/Error"})}
    infer: Json = {
        "operationId": "infer",
        "summary": "Run the model",
        "requestBody": {"required": True, "content": _json({"$ref": "#/components/schemas/InferenceRequest"})},
        "responses": {
            "200": {"description": "The outputs", "content": _json({"$ref": "#/components/schemas/InferenceResponse"})},
            **dict.fromkeys(("400", "404", "413", "500", "503"), error),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": bundle.name,
            "version": bundle.version,
            "description": f"{bundle.name}:{bundle.version}@{bundle.target}, by the Open Inference Protocol 2",
        },
        "paths": {
            "/v2": _get("serverMetadata", "What this server is"),
            "/v2/health/live": _get("live", "Whether the server runs"),
            "/v2/health/ready": _get("ready", "Whether it takes requests"),
            model: _get("modelMetadata", "The model's inputs and outputs"),
            f"{model}/ready": _get("modelReady", "Whether the model takes requests"),
            f"{model}/infer": {"post": infer},
            f"{model}/versions/{bundle.version}": _get("versionMetadata", "The model's inputs and outputs"),
            f"{model}/versions/{bundle.version}/ready": _get("versionReady", "Whether the model takes requests"),
            f"{model}/versions/{bundle.version}/infer": {"post": {**infer, "operationId": "inferVersion"}},
            "/metrics": _get("metrics", "Figures for Prometheus"),
            "/telemetry": _get("telemetry", "What was counted since the last window, as devices send it"),
        },
        "components": {
            "schemas": {
                "Error": _object({"error": {"type": "string"}}, ["error"]),
                "InferenceRequest": _object(
                    {
                        "id": {"type": "string"},
                        "inputs": _tensors(manifest.signature.inputs, every=True),
                        "outputs": {"type": "array", "items": _object({"name": {"type": "string"}}, ["name"])},
                    },
                    ["inputs"],
                ),
                "InferenceResponse": _object(
                    {
                        "id": {"type": "string"},
                        "model_name": {"type": "string", "const": bundle.name},
                        "model_version": {"type": "string"},
                        "outputs": _tensors(manifest.signature.outputs, every=False),
                    },
                    ["model_name", "outputs"],
                ),
            }
        },
    }


def metadata(manifest: Manifest) -> Json:
    """The model's metadata as the protocol has it; free dimensions are -1."""
    return {
        "name": manifest.bundle.name,
        "versions": [manifest.bundle.version],
        "platform": f"packtrain_{manifest.runtime.kind}",
        "inputs": [_described(entry) for entry in manifest.signature.inputs],
        "outputs": [_described(entry) for entry in manifest.signature.outputs],
    }


def _described(entry: TensorSection) -> Json:
    shape = [size if isinstance(size, int) else -1 for size in entry.shape]
    return {"name": entry.name, "datatype": DATATYPES[entry.dtype], "shape": shape}


def _tensors(entries: tuple[TensorSection, ...], *, every: bool) -> Json:
    schema: Json = {"type": "array", "items": {"oneOf": [_tensor(entry) for entry in entries]}}
    return {**schema, "minItems": len(entries), "maxItems": len(entries)} if every else schema


def _tensor(entry: TensorSection) -> Json:
    item: Json = {"type": _KINDS.get(entry.dtype, "number" if entry.dtype.startswith("float") else "integer")}
    if entry.range is not None:
        item["minimum"], item["maximum"] = entry.range
    sizes: list[Json] = [
        {"const": size} if isinstance(size, int) else {"type": "integer", "minimum": 1, "title": size}
        for size in entry.shape
    ]
    shape = {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)}
    return _object(
        {
            "name": {"const": entry.name},
            "datatype": {"const": DATATYPES[entry.dtype]},
            "shape": shape,
            "data": {"type": "array", "items": {"anyOf": [item, {"type": "array"}]}},
        },
        ["name", "datatype", "shape"],
    )


def _object(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _get(operation: str, summary: str) -> Json:
    return {"get": {"operationId": operation, "summary": summary, "responses": {"200": {"description": summary}}}}
