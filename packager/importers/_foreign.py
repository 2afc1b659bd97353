"""A framework's own code on a file that may be damaged: it raises whatever it likes, and that is no bug of ours."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from packager.errors import ConversionError, PackError
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = Path(__file__).parent.parent.parent
_LONGEST = 300


@contextmanager
def foreign_code(framework: str, name: str) -> Iterator[None]:
    """Turn what is raised inside of other people's code into a ConversionError; what our own code raises stays."""
    try:
        yield
    except (PackError, TargetError, MemoryError):
        raise
    except Exception as error:  # the frameworks' errors have no class in common, and a file can provoke each of them
        if _is_ours(error):
            raise
        problem = " ".join(str(error).split())[:_LONGEST]
        raise ConversionError(
            "import.framework",
            f"{framework} fails on '{name}': {type(error).__name__}: {problem}",
            hint=f"the file may be damaged, or of another version of {framework}",
        ) from error


def _is_ours(error: Exception) -> bool:
    """Whether the innermost frame is of our own code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    path = Path(trace.tb_frame.f_code.co_filename)
    if not path.is_relative_to(_OURS):
        return False
    return path.relative_to(_OURS).parts[0] in ("agent", "manifests", "packager", "targets", "wire")
