"""What a model is for, from what ``pack.toml`` says and what its importer found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from packager.errors import ConfigError

if TYPE_CHECKING:
    from manifests.manifest import SignatureSection, TaskSection, TensorSection

_SCORES = re.compile(r"score|prob|logit|softmax", re.IGNORECASE)
"""Names that exporters give to a classifier's scores."""


def complete_task(
    written: TaskSection, found: TaskSection, signature: SignatureSection
) -> tuple[TaskSection, tuple[str, ...]]:
    """The task, and what the user should know of it: what ``pack.toml`` says counts before what the importer found.

    Where neither names the output, it is the only one, a regressor's first one, or the one with a classifier's scores.

    Raises:
        ConfigError: the model has no output of that name, or several that may be the scores.
    """
    if written.kind == "unknown":
        return found, ()
    names = [entry.name for entry in signature.outputs]
    named = written.output or found.output
    if named and named not in names:
        raise ConfigError("config.field", f"'model.task.output': expected one of {', '.join(names)}, got '{named}'")
    notes: tuple[str, ...] = ()
    if not named and len(names) > 1 and written.kind == "classification":
        named = _scores(signature.outputs)
        notes = (f"of the outputs {', '.join(names)}, '{named}' is taken for the scores",)
    task = msgspec.structs.replace(written, output=named or names[0], labels=written.labels or found.labels)
    return task, notes


def _scores(outputs: tuple[TensorSection, ...]) -> str:
    """The only float output with an axis for the classes, or of several the only one that is called scores."""
    floats = [entry for entry in outputs if "float" in entry.dtype]
    choices = [entry.name for entry in floats if len(entry.shape) > 1] or [entry.name for entry in floats]
    if len(choices) > 1:
        choices = [name for name in choices if _SCORES.search(name)]
    if len(choices) != 1:
        raise ConfigError(
            "config.task",
            f"can't tell which output holds the scores: the model has {', '.join(entry.name for entry in outputs)}",
            hint="name it in pack.toml, as output in the table [model.task]",
        )
    return choices[0]
