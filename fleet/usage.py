"""What was typed wrong, in the words and the form of all other errors."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException

_SUGGESTION = re.compile(r"\. Did you mean .*| \(Possible options: .*\)")
"""What the parser adds to its messages; here it is the hint."""


def explain_usage(error: TyperException) -> tuple[str, str]:
    """Message and hint for an error that the parser of the command line raised."""
    message = _plain(error.format_message())
    parameter = getattr(error, "param", None)
    if parameter is not None:
        name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        message = f"{name}: {_plain(error.message)}" if error.message else f"missing {name}"
    context = getattr(error, "ctx", None)
    if context is None:
        return message, "pack-fleet --help shows what it takes"
    message = _SUGGESTION.sub("", message)
    known = [name for entry in context.command.params for name in entry.opts]
    commands = getattr(context.command, "commands", {})
    known += commands
    typed = getattr(error, "option_name", "") or message.partition("'")[2].rpartition("'")[0]
    if any(typed in entry.opts for command in commands.values() for entry in command.params):
        return message, f"it stands behind the command: {context.command_path} COMMAND {typed} ..."
    close = get_close_matches(typed, known, n=1, cutoff=0.6)
    return message, f"did you mean '{close[0]}'?" if close else f"{context.command_path} --help shows what it takes"


def _plain(message: str) -> str:
    text = " ".join(message.split()).rstrip(".")
    return text[:1].lower() + text[1:]
