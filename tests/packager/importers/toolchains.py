"""Running what needs a heavy framework in its own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from packager import worker
from packager.config import worker_environment
from packager.toolchains.choice import find_toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Outcomes: TypeAlias = dict[str, dict[str, object]]
INSIDE = Path(__file__).parent / "inside"


def import_all(
    toolchain: str, folder: Path, make: Sequence[str | Path], models: Mapping[str, Mapping[str, object]]
) -> Outcomes:
    """What became of each model: what `inside/import_models.py` says of it."""
    environment = find_toolchain(toolchain)
    if environment is None:
        pytest.skip(f"the toolchain is not here: pack toolchain install {toolchain}")
    links = worker._own_packages(folder)
    asked = json.dumps({"make": [str(word) for word in make], "models": models})
    command = [environment.interpreter, INSIDE / "import_models.py", asked, folder / "outcomes.json"]
    surroundings = worker_environment() | {"PYTHONPATH": str(links)}
    ran = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-5000:]
    found: Outcomes = json.loads((folder / "outcomes.json").read_text())
    return found
