"""A readable record of what was run, what came of it, and what was claimed; a claim that does not hold ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

POLL_SECONDS = 0.2

Value = TypeVar("Value")


class ClaimError(Exception):
    """What was claimed does not hold."""


class Transcript:
    """Writes to standard output as things happen."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._began = time.monotonic()
        self.claims: list[str] = []

    @property
    def seconds(self) -> float:
        """Since the transcript began."""
        return time.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """Begin a new part."""
        print(f"\n[{self.seconds:5.1f} s] {title}\n", flush=True)

    def tell(self, text: str) -> None:
        """A line of explanation."""
        print(f"  {text}", flush=True)

    def run(self, *command: object, folder: Path, expect: int = 0, show: bool = True) -> str:
        """Run a command that must end with the exit code `expect`; its standard output is returned.

        Raises:
            ClaimError: it ended with another code.
        """
        words = [str(word) for word in command]
        began = time.monotonic()
        done = subprocess.run(
            words,
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if show:
            print(f"  $ {' '.join([os.path.basename(words[0]), *words[1:]])}")  # noqa: PTH119 - a word, not a path
            self._indent(done.stdout)
        if done.returncode != expect:
            self._indent(done.stderr)
            raise ClaimError(f"'{words[0]}' ended with exit code {done.returncode}, expected {expect}")
        if expect:
            self._indent(done.stderr)
        print(f"    ({time.monotonic() - began:.1f} s)", flush=True)
        return done.stdout

    def start(self, *command: object, folder: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a program that goes on; what it prints goes to `log`."""
        with log.open("ab") as stream:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def claim(self, text: str, measured: str, *, holds: bool) -> None:
        """Say what was claimed and what was measured.

        Raises:
            ClaimError: it does not hold.
        """
        if not holds:
            raise ClaimError(f"{text}: measured {measured}")
        print(f"  ok: {text}: {measured}", flush=True)
        self.claims.append(f"{text}: {measured}")

    def wait(self, what: str, look: Callable[[], Value | None], *, seconds: float) -> tuple[Value, float]:
        """What `look` finds, as soon as it finds something, and how many seconds that took.

        Raises:
            ClaimError: nothing came in time.
        """
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            found = look()
            if found is not None:
                return found, waited
            time.sleep(POLL_SECONDS)
        raise ClaimError(f"{what}: did not happen within {seconds:.0f} s")

    @staticmethod
    def _indent(text: str) -> None:
        for line in text.rstrip().splitlines():
            print(f"    {line}")
        sys.stdout.flush()
