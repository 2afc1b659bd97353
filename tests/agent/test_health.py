from __future__ import annotations

import pytest

from agent.applications import Health
from agent.health import judge
from wire.messages import Fault

OLD, NEW = "sha256:old", "sha256:new"


def application(bundle: str, calls: int = 0, errors: int = 0, refused: str = "") -> Health:
    fault = Fault(code="x", message="no") if refused else None
    return Health(model="digits", pid=7, bundle=bundle, calls=calls, errors=errors, refused=refused, fault=fault)


SERVED, SWITCHED, LATE = application(NEW, 9), application(NEW), application(OLD, 900)


@pytest.mark.parametrize(
    ("applications", "died", "waited", "verdict"),
    [
        ([], 0, 0.0, "healthy"),
        ([SERVED], 0, 0.0, "healthy"),
        ([SERVED, LATE], 0, 0.0, None),
        ([SERVED, LATE], 0, 10.0, "health.timeout"),
        ([SWITCHED], 0, 9.9, None),
        ([SWITCHED], 0, 10.0, "healthy"),
        ([application(NEW, 3, 2)], 0, 0.0, None),
        ([application(NEW, 3, 3)], 0, 0.0, "health.errors"),
        ([application(NEW, 100, 40)], 0, 0.0, "healthy"),
        ([application(OLD, 3, 3)], 0, 0.0, None),
        ([application(OLD, refused=NEW), SERVED], 0, 0.0, "health.open"),
        ([application(OLD, refused=OLD)], 0, 0.0, None),
        ([], 1, 9.9, None),
        ([], 1, 10.0, "health.died"),
        ([SERVED], 1, 0.0, None),
        ([SERVED], 1, 10.0, "healthy"),
        ([SERVED], 2, 0.0, "health.died"),
    ],
)
def test_applications_decide(applications: list[Health], died: int, waited: float, verdict: str | None) -> None:
    found = judge(NEW, applications, died=died, waited=waited, timeout=10.0)
    assert (found.code if isinstance(found, Fault) else found) == verdict
