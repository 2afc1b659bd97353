"""KServe: an InferenceService with the server as its own predictor, which speaks the protocol's version 2 already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.deployment.blocks import write_blocks
from packager.deployment.kubernetes import pod_security, serving_container
from packager.deployment.subject import HTTP_PORT

if TYPE_CHECKING:
    from packager.deployment.blocks import Value
    from packager.deployment.subject import Subject

_CONCURRENCY = 32
"""Requests at a time for which a replica is meant."""


def files(subject: Subject) -> dict[str, bytes]:
    """``inferenceservice.yaml``.

    Raises:
        ConfigError: no digest pins the image.
    """
    container: dict[str, Value] = {
        **serving_container(subject),
        "name": "kserve-container",
        # A predictor has one port.
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
    }
    document: Value = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": subject.label,
            "labels": {"app.kubernetes.io/managed-by": "packtrain"},
            "annotations": {
                "dev.packtrain/bundle": subject.digest,
                "serving.kserve.io/deploymentMode": "Standard",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 10,
                "scaleMetric": "cpu",
                "scaleTarget": 70,
                "timeout": 30,
                "containerConcurrency": _CONCURRENCY,
                "automountServiceAccountToken": False,
                "securityContext": pod_security(),
                "containers": [container],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            }
        },
    }
    return {"inferenceservice.yaml": write_blocks(document)}
