"""A project with one signed bundle in its store, for tests of what is done with bundles."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import onnx

from tests.packager.serving.conftest import PACK, multiplier

if TYPE_CHECKING:
    from pathlib import Path


class Project(NamedTuple):
    folder: Path
    key: Path


def make_project(folder: Path, *, options: str = "") -> Project:
    """Its store holds ``scale:1@cloud``, built with those options."""
    environment = os.environ | {"PACK_CACHE": str(folder / "cache"), "PACK_SIGNING_KEY": str(folder / "pack.key")}
    onnx.save(multiplier(10.0), folder / "model.onnx")
    (folder / "pack.toml").write_text(
        f'[model]\nname = "scale"\nversion = "1"\nsource = "model.onnx"\n\n[targets.cloud]\n{options}\n'
    )
    for command in (["keys", "generate", "pack.key"], ["-t", "cloud"]):
        subprocess.run([*PACK, *command], cwd=folder, env=environment, check=True, capture_output=True)
    return Project(folder, folder / "pack.pub")
