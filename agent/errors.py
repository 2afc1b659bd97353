"""The errors of the agent, by what the lifecycle does with them."""

from __future__ import annotations


class AgentError(Exception):
    """Something the agent was asked to do can't be done.

    Attributes:
        code: stable identifier, such as ``agent.runtime-missing``; it is what a report carries.
        hint: what to do next; empty where nothing is known to help.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class ConfigError(AgentError):
    """The device's configuration can't be used."""


class IncompatibleError(AgentError):
    """This device can't run the bundle; another one can."""


class RefusedError(AgentError):
    """What was sent is not to be believed; trying again with the same assignment can't help."""


class UnreachableError(AgentError):
    """The server, or something it should have, could not be had now; trying again later may help."""


class SelfTestError(AgentError):
    """The bundle does not compute on this device what it computed when it was built."""
