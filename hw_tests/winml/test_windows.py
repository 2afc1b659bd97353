"""Bundles of winml, each for one release of Windows, run by the Windows build of onnxruntime on their golden samples.

Under Wine on other systems; on Windows itself, and there with DirectML too.

    python -m pytest -rs hw_tests/winml
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from bench.real_models import MODELS, fetched
from hw_tests.winml.conftest import make_windows
from hw_tests.winml.tensors import read_calls, write_calls
from manifests.bundle import unpack
from manifests.layout import Layout
from packager.measures.running import call_size, one_call
from packager.store import bundles

if TYPE_CHECKING:
    from pathlib import Path

    from hw_tests.winml.conftest import Windows
    from manifests.manifest import Manifest

PROJECT = """
[model]
name = "model"
version = "1"
source = "{path}"

[targets.winml]
windows = "{windows}"
{options}
"""
RELEASES = ("1809", "1903", "2004", "11", "windows-ml")
DIRECTML = "1.24.4"
"""The newest onnxruntime-directml."""


class Case(NamedTuple):
    model: str
    options: str = ""
    oldest: str = "1809"
    """The first of `RELEASES` whose operators express the model."""


CASES = {
    "convolution": Case("qonnx mnist-conv", "dimensions = { '*' = 1 }"),
    "dense": Case("openwakeword alexa_v0.1", "dimensions = { '*' = 1 }"),
    "float16": Case("qonnx mnist-conv", "dimensions = { '*' = 1 }\nfloat16 = true"),
    "transformer": Case("magika", "dimensions = { '*' = 1 }"),
}


def packed(case: Case, release: str, folder: Path) -> tuple[Path, Manifest]:
    """The bundle's files, and its manifest."""
    path = fetched(next(model for model in MODELS if model.name == case.model))
    (folder / "pack.toml").write_text(PROJECT.format(path=path, windows=release, options=case.options))
    command = [sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())", "--unsigned"]
    environment = {**os.environ, "PACK_CACHE": str(folder / "cache")}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    store = folder / ".pack" / "store"
    (bundle,) = bundles(store)
    files = folder / "files"
    files.mkdir()
    unpack(Layout.open(store), bundle, files)
    return files, bundle.manifest


def compare(windows: Windows, files: Path, manifest: Manifest, provider: str, *, factor: float = 1.0) -> None:
    """The golden samples by that library, within the bundle's own tolerance `factor` times over."""
    with np.load(files / manifest.golden_file().path) as archive:
        inputs = {name.removeprefix("input."): archive[name] for name in archive if name.startswith("input.")}
        expected = {name.removeprefix("expected."): archive[name] for name in archive if name.startswith("expected.")}
    size = call_size(manifest.signature)
    step = size if isinstance(size, int) else 1
    count = manifest.golden.samples // step if not isinstance(size, dict) else 1
    calls = [one_call(inputs, size, number) for number in range(count)]
    model = windows.folder / "model.onnx"
    model.write_bytes((files / manifest.runtime.entry).read_bytes())
    (windows.folder / "inputs").write_bytes(write_calls(calls))
    ran = windows.run("model.onnx", "inputs", "outputs", provider)
    assert ran.returncode == 0, f"{windows.name}: {ran.stdout}{ran.stderr}"
    got = read_calls((windows.folder / "outputs").read_bytes())
    for name, wanted in expected.items():
        found = np.concatenate([np.atleast_1d(call[name]) for call in got])
        np.testing.assert_allclose(
            found.reshape(-1),
            wanted.reshape(-1)[: found.size],
            rtol=factor * manifest.golden.rtol,
            atol=factor * manifest.golden.atol,
        )


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("case", CASES)
def test_the_windows_library_gives_the_golden_outputs(
    windows: Windows, case: str, release: str, tmp_path: Path
) -> None:
    if RELEASES.index(release) < RELEASES.index(CASES[case].oldest):
        pytest.skip(f"{CASES[case].model} can't be expressed in the operators of Windows {release}")
    files, manifest = packed(CASES[case], release, tmp_path)
    compare(windows, files, manifest, "cpu")


def test_the_library_is_the_release_that_is_installed_here(windows: Windows) -> None:
    ran = windows.run("nothing.onnx", "inputs", "outputs", "cpu")
    assert ran.returncode == 1
    assert ran.stdout.strip() == metadata.version("onnxruntime")
    assert "nothing.onnx" in ran.stderr


def test_directml_gives_the_golden_outputs(tmp_path: Path) -> None:
    if platform.system() != "Windows":
        pytest.skip("DirectML needs Windows and a GPU: without a display Wine makes no DXGI factory (887A0004)")
    (tmp_path / "project").mkdir()
    files, manifest = packed(CASES["convolution"], "11", tmp_path / "project")
    compare(
        make_windows(tmp_path / "windows", "onnxruntime-directml", DIRECTML), files, manifest, "directml", factor=10
    )
