from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING

import msgspec
import onnx
import pytest

from packager.errors import ExitCode, ToolchainError
from packager.fingerprints import OWN_DISTRIBUTIONS
from packager.jobs import importation
from packager.registry import installed_version
from packager.samples import DataFiles
from packager.toolchains.choice import choose_interpreter, find_toolchain
from packager.toolchains.environments import environment_folder
from packager.toolchains.locks import open_lock
from packager.worker import Workers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack


def write_environment(root: Path, **distributions: str) -> Path:
    """What an installation of torch would leave, as far as choosing goes."""
    lock = open_lock("torch")
    folder = environment_folder(lock, root)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    found = {name.replace("_", "-"): version for name, version in distributions.items()}
    marker = {"lock": lock.digest, "python": "3.12.1", "distributions": found}
    (folder / "toolchain.json").write_bytes(msgspec.json.encode(marker))
    return folder


def test_what_is_installed_beside_us_is_taken_first() -> None:
    chosen = choose_interpreter(("onnx",), extra="pack", toolchain="torch")
    assert chosen.path is None
    assert chosen.versions["onnx"] == installed_version("onnx")
    assert "torch.lock" not in chosen.versions


def test_a_toolchains_versions_and_the_digest_of_its_lock_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACK_TOOLCHAINS", str(tmp_path))
    folder = write_environment(tmp_path, no_such_framework="7.0", other="1", **dict.fromkeys(OWN_DISTRIBUTIONS, "99.0"))
    chosen = choose_interpreter(("No_Such.Framework",), extra="torch", toolchain="torch")
    assert chosen.path == folder / "bin" / "python"
    assert chosen.versions == {
        "No_Such.Framework": "7.0",
        **dict.fromkeys(OWN_DISTRIBUTIONS, "99.0"),
        "python": "3.12.1",
        "torch.lock": open_lock("torch").digest,
    }


def test_a_toolchain_without_what_is_asked_of_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_TOOLCHAINS", str(tmp_path))
    write_environment(tmp_path, numpy="2")
    with pytest.raises(ToolchainError, match="the toolchain 'torch' has no no-such-framework, onnx, onnxruntime"):
        choose_interpreter(("no-such-framework",), extra="torch", toolchain="torch")


def test_a_missing_toolchain_is_exit_code_7_and_says_how_to_get_it(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACK_TOOLCHAINS", str(tmp_path / "none"))
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/models/model.json", "{}")
    ran = pack("--model", tmp_path / "model.pt2", "--target", "cloud", "--unsigned")
    assert ran.code == ExitCode.TOOLCHAIN
    assert "hint: pack toolchain install torch" in ran.err


def test_a_worker_in_a_toolchain_sees_our_packages_alone_of_what_is_installed_with_us(tmp_path: Path) -> None:
    environment = find_toolchain("torch")
    if environment is None:
        pytest.skip("the toolchain is not here: pack toolchain install torch")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "small",
        [onnx.helper.make_tensor_value_info("x", 1, ["N", 2])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 2])],
    )
    onnx.save(onnx.helper.make_model(graph, ir_version=8), tmp_path / "model.onnx")
    order = importation.Order(
        framework="onnx",
        path=str(tmp_path / "model.onnx"),
        trusted=False,
        task=importation.TaskSection(),
        data=DataFiles(),
    )
    with (
        Workers(tmp_path / "scratch", seconds=120, memory=1 << 33) as workers,
        workers.job("importation", order, importation.Importation, environment.interpreter) as (result, files),
    ):
        assert result.samples > 0
        packages = {entry.name for entry in (files.parent / "packages").iterdir()}
    assert packages == {"agent", "manifests", "packager", "targets", "wire"}


def test_the_toolchains_are_listed_with_what_is_here_of_them(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACK_TOOLCHAINS", str(tmp_path))
    folder = write_environment(tmp_path, torch="2.13.0")
    outdated = tmp_path / "torch-0123456789ab"
    folder.rename(outdated)
    marker = msgspec.json.decode((outdated / "toolchain.json").read_bytes(), type=dict[str, object])
    (outdated / "toolchain.json").write_bytes(msgspec.json.encode(marker | {"lock": "sha256:of an older packtrain"}))
    folder = write_environment(tmp_path, torch="2.13.0")
    document = pack("toolchain", "list", "-o", "json").document
    found = {entry["name"]: entry["folder"] for entry in document["toolchains"]}
    assert found == {"hls4ml": None, "tensorflow": None, "torch": str(folder)}
    assert document["outdated"] == [str(outdated)]
    assert pack("toolchain", "list", "-o", "tag").out == "torch\n"
    assert "not here; to get it: pack toolchain install tensorflow" in pack("toolchain", "list").out
    assert pack("toolchain", "install", "torch").out == f"{folder}\n"
    assert set(pack("toolchain", "remove", "torch").out.splitlines()) == {str(folder), str(outdated)}
    assert pack("toolchain", "list", "-o", "tag").out == ""
    assert pack("toolchain", "install", "torhc").code == ExitCode.USAGE
