"""A Windows, real or Wine's, with onnxruntime's own library for it, and the program that runs bundles there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.real_models import cache

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_WINE = ("wine64", "/usr/lib/wine/wine64", "wine")
"""Debian's wine64 has its program off PATH."""
_COMPILER = "x86_64-w64-mingw32-gcc"
_SECONDS = 300


class Windows(NamedTuple):
    """Where the program runs."""

    folder: Path
    """With the program, the library, and files that are written; the program's working folder."""
    command: list[str]
    environment: dict[str, str]
    name: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program with these arguments; files are named as they stand in the folder."""
        return subprocess.run(
            [*self.command, str(self.folder / "golden.exe"), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )


def library(distribution: str, version: str) -> Path:
    """The folder of onnxruntime's libraries out of a wheel for Windows, which is fetched when it is not here yet."""
    folder = cache() / f"{distribution}-{version}-windows"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        uv = shutil.which("uv") or str(ROOT / ".ci" / "uv")
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--python-platform", "x86_64-pc-windows-msvc"]
        target = ["--python", sys.executable, "--target", str(partial)]
        subprocess.run([uv, "pip", "install", *options, *target, f"{distribution}=={version}"], check=True)
        partial.rename(folder)
    return folder / "onnxruntime" / "capi"


def make_windows(folder: Path, distribution: str, version: str) -> Windows:
    """A Windows with that library; skips where there is no way to run programs for Windows."""
    compiler = shutil.which(_COMPILER)
    if compiler is None:
        pytest.skip(f"{_COMPILER} is not here: apt-get install gcc-mingw-w64-x86-64")
    folder.mkdir(exist_ok=True)
    for path in library(distribution, version).glob("*.dll"):
        shutil.copy(path, folder)
    flags = ["-O1", "-Wall", "-Wextra", "-Wno-cast-function-type", "-Werror", "-municode"]
    subprocess.run([compiler, *flags, "-o", folder / "golden.exe", HERE / "golden.c"], check=True)
    if platform.system() == "Windows":
        return Windows(folder, [], dict(os.environ), f"Windows {platform.version()}")
    wine = next((found for name in _WINE if (found := shutil.which(name))), None)
    if wine is None:
        pytest.skip("Wine is not here: apt-get install wine64")
    environment = {**os.environ, "WINEPREFIX": str(folder / "prefix"), "WINEARCH": "win64", "WINEDEBUG": "-all"}
    # Nothing of ours needs Mono or a browser, which Wine would ask for.
    environment["WINEDLLOVERRIDES"] = "mscoree,mshtml="
    name = subprocess.run([wine, "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    return Windows(folder, [wine], environment, name.strip())


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """With the release of onnxruntime that is installed here."""
    return make_windows(tmp_path_factory.mktemp("windows"), "onnxruntime", metadata.version("onnxruntime"))
