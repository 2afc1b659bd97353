"""Networks of integers in time-multiplexed hardware: few multipliers, weights in block RAM, one element a cycle."""

from __future__ import annotations

from targets.fpga._sequential.lanes import Plan, plan, plan_reuse
from targets.fpga._sequential.writing import write_sequential

__all__ = ["Plan", "plan", "plan_reuse", "write_sequential"]
