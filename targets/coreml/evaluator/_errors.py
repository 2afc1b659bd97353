"""What goes wrong when a package is loaded or evaluated."""

from __future__ import annotations

from targets._target import TargetError


class PackageError(TargetError):
    """The package can't be read: it is damaged, too large, or no ML program."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("coreml.package", message, hint=hint)


class InputError(TargetError):
    """An input, or a state, does not fit what the model declares."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("coreml.input", message, hint=hint)


class EvaluationError(TargetError):
    """An operation can't be evaluated: unknown, refused, or failing on the values it got."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("coreml.evaluation", message, hint=hint)
