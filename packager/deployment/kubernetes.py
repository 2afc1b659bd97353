"""Kubernetes: a deployment that runs as nobody on a read-only root, its service, and what bounds and protects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.deployment.blocks import write_blocks
from packager.deployment.subject import HTTP_PORT, RPC_PORT, USER

if TYPE_CHECKING:
    from packager.deployment.blocks import Value
    from packager.deployment.subject import Subject

_REPLICAS, _MOST_REPLICAS = 2, 10
_UTILIZATION = 70
"""Percent of the requested processors above which there are more replicas."""
_GRACE = 45
"""Seconds to answer what was taken on, and a few more."""


def files(subject: Subject) -> dict[str, bytes]:
    """One file a kind: Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy.

    Raises:
        ConfigError: no digest pins the image.
    """
    container = serving_container(subject)
    selector: Value = {"matchLabels": {"app.kubernetes.io/name": subject.label}}
    deployment: Value = {
        "replicas": _REPLICAS,
        "selector": selector,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {
                "labels": _labels(subject),
                "annotations": {
                    "dev.packtrain/bundle": subject.digest,
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(HTTP_PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": _GRACE,
                "securityContext": pod_security(),
                "containers": [container],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": selector,
                    }
                ],
            },
        },
    }
    service: Value = {
        "selector": {"app.kubernetes.io/name": subject.label},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
            {"name": "grpc", "port": RPC_PORT, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"},
        ],
    }
    autoscaler: Value = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": subject.label},
        "minReplicas": _REPLICAS,
        "maxReplicas": _MOST_REPLICAS,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": _UTILIZATION},
                },
            }
        ],
    }
    policy: Value = {
        "podSelector": selector,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}, {"port": "grpc", "protocol": "TCP"}]}],
        "egress": [],
    }
    kinds = {
        "deployment": ("apps/v1", "Deployment", deployment),
        "service": ("v1", "Service", service),
        "autoscaler": ("autoscaling/v2", "HorizontalPodAutoscaler", autoscaler),
        "disruption": (
            "policy/v1",
            "PodDisruptionBudget",
            {"minAvailable": 1, "selector": selector},
        ),
        "network": ("networking.k8s.io/v1", "NetworkPolicy", policy),
    }
    return {
        f"{name}.yaml": write_blocks(
            {
                "apiVersion": version,
                "kind": kind,
                "metadata": {"name": subject.label, "labels": _labels(subject)},
                "spec": specification,
            }
        )
        for name, (version, kind, specification) in kinds.items()
    }


def serving_container(subject: Subject) -> dict[str, Value]:
    """The server's container, with its probes and what it may take.

    Raises:
        ConfigError: no digest pins the image.
    """
    memory = f"{subject.memory}Mi"
    return {
        "name": "server",
        "image": subject.pinned_image(),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": RPC_PORT, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": "1", "memory": memory},
            "limits": {"memory": memory},
        },
        "startupProbe": {**_probe("ready"), "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**_probe("ready"), "periodSeconds": 5},
        "livenessProbe": {**_probe("live"), "periodSeconds": 10},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 - of the container
    }


def pod_security() -> dict[str, Value]:
    """Nobody, and only the system calls that containers are given by default."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _labels(subject: Subject) -> dict[str, Value]:
    return {
        "app.kubernetes.io/name": subject.label,
        "app.kubernetes.io/version": subject.manifest.bundle.version,
        "app.kubernetes.io/managed-by": "packtrain",
    }


def _probe(what: str) -> dict[str, Value]:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": "http"}, "timeoutSeconds": 2}
