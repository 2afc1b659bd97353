"""What was typed wrong, in the words and the form of all other errors."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typer.exceptions import TyperException

_NO_COMMAND = re.compile(r"no such command '(.*)'")
_COMMANDS_MEANT = {"build": "pack without a command builds", "help": "pack --help", "version": "pack --version"}
"""What people type for what is no command."""


def explain_usage(error: TyperException) -> tuple[str, str]:
    """Message and hint for an error that the parser of the command line raised."""
    message = _plain(error.format_message())
    parameter = getattr(error, "param", None)
    if parameter is not None:
        name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        message = f"{name}: {_plain(error.message)}" if error.message else f"missing {name}"
    context = getattr(error, "ctx", None)
    if context is None:
        return message, "pack --help shows what it takes"
    hint = f"{context.command_path} --help shows what it takes"
    option = getattr(error, "option_name", "")
    if option:
        hint = suggest(option, (name for entry in context.command.params for name in entry.opts)) or hint
    command = _NO_COMMAND.fullmatch(message)
    if command:
        hint = _COMMANDS_MEANT.get(command[1]) or suggest(command[1], context.command.commands) or hint
    return message, hint


def suggest(typed: str, known: Iterable[str]) -> str:
    """``did you mean '...'?``, or nothing where nothing known is close to what was typed."""
    close = get_close_matches(typed, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _plain(message: str) -> str:
    """The parser's sentence as a line of ours: on one line, lower case, without a full stop."""
    text = " ".join(message.split()).removeprefix("Value error, ").split(" (Possible options")[0].rstrip(".")
    return text[:1].lower() + text[1:]
