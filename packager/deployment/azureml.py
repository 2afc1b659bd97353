"""Azure Machine Learning: a managed online endpoint and its deployment, for ``az ml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.deployment.blocks import write_blocks
from packager.deployment.subject import HTTP_PORT

if TYPE_CHECKING:
    from packager.deployment.blocks import Value
    from packager.deployment.subject import Subject

_SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
_SHORTEST, _LONGEST = 3, 32
"""Characters of an endpoint's name."""


def files(subject: Subject) -> dict[str, bytes]:
    """``endpoint.yaml`` and ``deployment.yaml``.

    Raises:
        ConfigError: no digest pins the image.
    """
    name = subject.label[:_LONGEST].rstrip("-").ljust(_SHORTEST, "x")
    bundle = subject.manifest.bundle
    tags: Value = {"packtrain-bundle": subject.digest, "packtrain-version": bundle.version}
    endpoint: Value = {
        "$schema": f"{_SCHEMAS}/managedOnlineEndpoint.schema.json",
        "name": name,
        "auth_mode": "key",
        "public_network_access": "disabled",
        "tags": tags,
    }
    deployment: Value = {
        "$schema": f"{_SCHEMAS}/managedOnlineDeployment.schema.json",
        "name": "blue",
        "endpoint_name": name,
        "environment": {
            "name": f"{name}-server",
            "version": str(max(bundle.counter, 1)),
            "image": subject.pinned_image(),
            "inference_config": {
                "liveness_route": {"port": HTTP_PORT, "path": "/v2/health/live"},
                "readiness_route": {"port": HTTP_PORT, "path": "/v2/health/ready"},
                "scoring_route": {"port": HTTP_PORT, "path": f"/v2/models/{bundle.name}/infer"},
            },
        },
        "instance_type": subject.instance,
        "instance_count": 1,
        "egress_public_network_access": "disabled",
        "request_settings": {"request_timeout_ms": 30_000, "max_concurrent_requests_per_instance": 32},
        "liveness_probe": {"initial_delay": 10, "period": 10, "timeout": 2, "failure_threshold": 3},
        "readiness_probe": {"initial_delay": 5, "period": 5, "timeout": 2, "failure_threshold": 3},
        "tags": tags,
    }
    return {"endpoint.yaml": write_blocks(endpoint), "deployment.yaml": write_blocks(deployment)}
