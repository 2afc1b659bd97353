"""The Dockerfile that adds the archives to the base."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from packager.containers.images import Settings
    from packager.containers.layers import Layer

_NANOSECONDS = 1_000_000_000


def write_dockerfile(path: Path, base: str, layers: Sequence[Layer], settings: Settings) -> None:
    """A Dockerfile without any RUN: `base`, which ends in a digest, the archives beside it, and the settings."""
    health = settings.healthcheck
    times = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    written = [f"--{option}={_seconds(health[field])}s" for option, field in times.items()]
    test = health["Test"]
    command = test[1:] if isinstance(test, list) else []
    lines = [
        "# Written by pack container; nothing is fetched but the base, which its digest pins.",
        f"FROM {base}",
        "",
    ]
    for layer in layers:
        lines += [f"# {layer.digest}", f"ADD {layer.path.name} /"]
    lines += [
        "",
        *(f"ENV {entry.partition('=')[0]}={json.dumps(entry.partition('=')[2])}" for entry in settings.env),
        *(f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in sorted(settings.labels.items())),
        f"WORKDIR {settings.working_dir}",
        f"USER {settings.user}",
        f"EXPOSE {' '.join(settings.exposed_ports)}",
        f"STOPSIGNAL {settings.stop_signal}",
        f"HEALTHCHECK {' '.join(written)} --retries={health['Retries']} \\",
        f"    CMD {json.dumps(command)}",
        f"ENTRYPOINT {json.dumps(list(settings.entrypoint))}",
        "CMD []",
    ]
    path.write_text("\n".join(lines) + "\n")


def _seconds(nanoseconds: object) -> int:
    return int(str(nanoseconds)) // _NANOSECONDS
