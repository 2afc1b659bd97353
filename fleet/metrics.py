"""The fleet's figures in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet.store import Store

MEDIA_TYPE = "text/plain; version=0.0.4"


def write_metrics(store: Store) -> str:
    """The page that Prometheus scrapes; every figure is read from the database as it is now."""
    return "".join(f"{line}\n" for line in _lines(store))


def _lines(store: Store) -> Iterator[str]:
    online, offline = store.figures.devices()
    yield from _head("packtrain_devices", "Enrolled devices, by whether they are connected.")
    yield _sample("packtrain_devices", online, online="true")
    yield _sample("packtrain_devices", offline, online="false")
    yield from _head("packtrain_placements", "Models on devices, by state and active version.")
    for found in store.figures.in_use():
        version, target = (found.active.version, found.active.target) if found.active else ("", "")
        labels = {"model": found.model, "state": found.state, "version": version, "target": target}
        yield _sample("packtrain_placements", found.devices, **labels)
    yield from _head("packtrain_windows", "Windows of telemetry that are stored.")
    yield _sample("packtrain_windows", store.figures.windows())
    yield from _head("packtrain_verdicts", "Drift verdicts that are stored.")
    for model, verdict, count in store.figures.verdicts():
        yield _sample("packtrain_verdicts", count, model=model, verdict=verdict)
    yield from _head("packtrain_drift_score", "Score of the newest verdict on a bundle.")
    for row in store.retraining.latest_verdicts():
        if not row.device:
            labels = {"model": row.model, "version": row.version, "bundle": row.bundle}
            yield _sample("packtrain_drift_score", row.score, **labels)
    yield from _head("packtrain_deliveries", "Retraining requests to sinks, by state.")
    for state, count in store.figures.deliveries():
        yield _sample("packtrain_deliveries", count, state=state)


def _head(name: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"


def _sample(name: str, value: float, **labels: str) -> str:
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
