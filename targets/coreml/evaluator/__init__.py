"""Evaluates a saved ``.mlpackage`` operator by operator in numpy, on any machine.

Nothing of what wrote the package takes part: it is read back from its bytes. The meaning of each operator is the one
that Apple documents in coremltools; the tests hold it against what Apple's own converter makes of torch models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.coreml.evaluator._errors import EvaluationError, InputError, PackageError
from targets.coreml.evaluator._features import Feature
from targets.coreml.evaluator._loading import Program, load_program

if TYPE_CHECKING:
    from targets.coreml.evaluator._execution import Observer as Observer

__all__ = ["EvaluationError", "Feature", "InputError", "PackageError", "Program", "load_program"]
