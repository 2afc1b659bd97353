"""What was typed wrong, in the words and the form of all other errors."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typer.exceptions import TyperException

_NO_COMMAND = re.compile(r"no such command '(.*)'")
_SUGGESTION = re.compile(r"\. Did you mean .*| \(Possible options: .*\)")
"""What the parser adds to its messages; here it is the hint."""


def explain_usage(error: TyperException, *, program: str, meant: Mapping[str, str]) -> tuple[str, str]:
    """Message and hint for an error that the parser of the command line of `program` raised.

    `meant` has the hints for words that people type for commands, and that are none.
    """
    message = _plain(error.format_message())
    parameter = getattr(error, "param", None)
    if parameter is not None:
        name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        message = f"{name}: {_plain(error.message)}" if error.message else f"missing {name}"
    context = getattr(error, "ctx", None)
    if context is None:
        return message, f"{program} --help shows what it takes"
    hint = f"{context.command_path} --help shows what it takes"
    option = getattr(error, "option_name", "")
    if option:
        hint = _option_meant(option, context) or hint
    command = _NO_COMMAND.fullmatch(message)
    if command:
        hint = meant.get(command[1]) or suggest(command[1], context.command.commands) or hint
    return message, hint


def suggest(typed: str, known: Iterable[str]) -> str:
    """``did you mean '...'?``, or nothing where nothing known is close to what was typed."""
    close = get_close_matches(typed, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _option_meant(option: str, context: Any) -> str:  # noqa: ANN401 - typer doesn't export the type of its contexts' commands
    commands = getattr(context.command, "commands", {}).values()
    if any(option in entry.opts for command in commands for entry in command.params):
        return f"it stands behind the command: {context.command_path} COMMAND {option} ..."
    return suggest(option, (name for entry in context.command.params for name in entry.opts))


def _plain(message: str) -> str:
    """The parser's sentence as a line of ours: on one line, lower case, without a full stop."""
    text = _SUGGESTION.sub("", " ".join(message.split()).removeprefix("Value error, ")).rstrip(".")
    return text[:1].lower() + text[1:]
