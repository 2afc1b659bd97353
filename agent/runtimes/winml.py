"""ONNX files for Windows, run by onnxruntime: on DirectML where its build has that, else on the CPU.

A bundle for WinML holds to what the WinML of a release of Windows takes, and onnxruntime takes all of that. Native
applications load the same file by ``Windows.AI.MachineLearning``; this library is for those in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from agent.runtimes._runtime import Runtime

DISTRIBUTION = "onnxruntime"


def open_model(path: Path, *, threads: int) -> Runtime:
    """The ONNX file, ready to run; `threads` are those on the CPU.

    Raises:
        ValueError: onnxruntime can't load the file; the message has its reason.
    """
    import onnxruntime

    from agent.runtimes.onnxruntime import open_with

    known = onnxruntime.get_available_providers()
    wanted = [name for name in ("DmlExecutionProvider", "CPUExecutionProvider") if name in known]
    return open_with(path, threads=threads, providers=wanted)
