"""The verdict on a bundle that was just activated, by how the applications fare with it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from wire.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.applications import Health

Verdict: TypeAlias = "Fault | Literal['healthy'] | None"

CALLS = 5
"""Good calls by which an application has shown that the bundle serves it."""
ERRORS = 3
"""Calls that raised, and are the most of all calls, by which it has shown that it does not."""
DEATHS = 2
"""Applications that ended without taking leave: one may have been restarted by its owner, two are a crash loop."""


def judge(bundle: str, applications: Sequence[Health], *, died: int, waited: float, timeout: float) -> Verdict:
    """A fault: roll back. None: wait on. Times in seconds since the activation; `died` counts from then on.

    Where no application is attached, the self-test has spoken. An application that has not called by the time-out but
    has switched counts as served: it opened the bundle.
    """
    faults = (_fault(bundle, health) for health in applications)
    fault = next((fault for fault in faults if fault is not None), None)
    over = waited >= timeout
    if fault is None and (died >= DEATHS or (died and not applications and over)):
        fault = Fault(
            code="health.died",
            message=f"applications ended without closing the model after it was switched: {died} times",
            hint="look for their core dumps, or for the kernel's out-of-memory killer",
        )
    if fault is not None:
        return fault
    if not died and all(health.bundle == bundle and health.calls - health.errors >= CALLS for health in applications):
        return "healthy"
    if not over:
        return None
    late = [health.pid for health in applications if health.bundle != bundle]
    if late:
        return Fault(
            code="health.timeout",
            message=f"applications did not switch within {timeout:g} s: process {', '.join(map(str, late))}",
            hint="raise health.timeout if opening the model takes that long here",
        )
    return "healthy"


def _fault(bundle: str, health: Health) -> Fault | None:
    if health.refused == bundle:
        reason = health.fault or Fault(code="unknown", message="no reason given")
        return Fault(
            code="health.open",
            message=f"process {health.pid} can't open the bundle: {reason.message}",
            hint=reason.hint,
        )
    if health.bundle == bundle and health.errors >= ERRORS and 2 * health.errors > health.calls:
        return Fault(
            code="health.errors",
            message=f"{health.errors} of {health.calls} calls of process {health.pid} raised",
            hint="does the application give what the new signature asks for",
        )
    return None
