"""A base image made of this machine's own Python, and a project with a bundle to serve."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifests.layout import Image, Layout
from packager.containers.images import architecture
from packager.containers.layers import MEDIA_TYPE, write_layer
from tests.packager.projects import make_project

if TYPE_CHECKING:
    from tests.packager.projects import Project

_UNUSED = re.compile(r"(^|/)(test|tests|idlelib|ensurepip|site-packages|lib2to3|config-[^/]*|__pycache__)(/|$)")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def python_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image layout whose one layer is this Python with the system's libraries that it needs."""
    folder = tmp_path_factory.mktemp("base")
    stdlib, program = Path(sysconfig.get_path("stdlib")), Path(sys.executable).resolve()
    prefix = "usr/local"
    files: dict[str, Path | bytes] = {
        f"{prefix}/lib/{stdlib.name}/{path.relative_to(stdlib).as_posix()}": path
        for path in stdlib.rglob("*")
        if path.is_file() and not _UNUSED.search(path.relative_to(stdlib).as_posix())
    }
    files[f"{prefix}/bin/python3"] = program
    files["tmp/.keep"] = b""
    binaries = [program, *(stdlib / "lib-dynload").glob("*.so"), *_site_libraries()]
    listed = subprocess.run(["ldd", *map(str, binaries)], check=False, capture_output=True, text=True).stdout
    programs = {f"{prefix}/bin/python3"}
    for found in set(re.findall(r"(/[^\s:]+\.so[^\s:]*) \(0x", listed)):
        if not found.startswith(sysconfig.get_path("purelib")):
            files[found.lstrip("/")] = Path(found).resolve()
            programs.add(found.lstrip("/"))  # the loader is one
    layer = write_layer(folder / "layer.tar.gz", files, programs=frozenset(programs))
    layout = Layout.create(folder / "layout")
    config = {
        "architecture": architecture(),
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {
            "Env": [f"PATH=/{prefix}/bin:/bin", f"PYTHON_VERSION={platform.python_version()}", "PYTHONPATH=/nowhere"],
            "Entrypoint": ["python3"],
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "test"}],
    }
    described = layout.add_bytes(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    image = Image(
        schema_version=2,
        media_type="application/vnd.oci.image.manifest.v1+json",
        config=described,
        layers=(layout.add_file(layer.path, MEDIA_TYPE),),
    )
    layout.name("registry.example.com/python:3", layout.add_image(image))
    return layout.folder


def _site_libraries() -> list[Path]:
    """Extension modules of packages, for the system's libraries that they ask for."""
    site = Path(sysconfig.get_path("purelib"))
    return [path for name in ("numpy", "onnxruntime", "grpc", "onnx") for path in (site / name).rglob("*.so")]
