"""Tree ensembles: read into a network of integers whose thresholds stay exact, and written as Verilog."""

from __future__ import annotations

from targets.fpga._trees.network import TreeReading, is_trees, read_trees, unsupported_trees
from targets.fpga._trees.writing import write_trees

__all__ = ["TreeReading", "is_trees", "read_trees", "unsupported_trees", "write_trees"]
