"""The compilers that generated clients are put to, and what their golden tests say."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PREPARED = "inputs are prepared as declared"
INTERPRETED = "outputs are interpreted as declared"
COMPUTED = "the model computes what it computed when it was built"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where a compiler is missing; in CI that fails."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} is not installed")


def run(*command: str | Path, at: Path) -> subprocess.CompletedProcess[str]:
    """A command that ended, its error output with the rest."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=at,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def passes(*command: str | Path, at: Path) -> str:
    """What a command says that must succeed."""
    ran = run(*command, at=at)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def fails(*command: str | Path, at: Path) -> str:
    """What a command says that must not."""
    ran = run(*command, at=at)
    assert ran.returncode != 0, ran.stdout
    return ran.stdout
