from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from manifests.digests import digest_bytes
from packager.clients.generation import Generated
from packager.clients.languages._language import LanguageName
from packager.clients.writing import RECORD, write_client
from packager.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.clients.conftest import Project


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"model")
    return path


def made(model: Path, **texts: bytes) -> Generated:
    return Generated(
        reference="photo:1@cloud",
        digest="sha256:" + "0" * 64,
        model="photo",
        language=LanguageName.PYTHON,
        next_step="",
        texts={name.replace("__", "/"): data for name, data in texts.items()},
        copies={"model/model.onnx": model},
    )


def test_what_was_generated_may_be_generated_again_and_what_is_gone_is_removed(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "client"
    write_client(made(model, one=b"1", old=b"old"), folder, force=False)
    written = write_client(made(model, one=b"2"), folder, force=False)
    assert written == ("model/model.onnx", "one")
    assert (folder / "one").read_bytes() == b"2"
    assert (folder / "model" / "model.onnx").read_bytes() == b"model"
    assert not (folder / "old").exists()


def test_a_file_of_someone_else_is_not_overwritten_without_force(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "one").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not generated, or changed since: one") as caught:
        write_client(made(model, one=b"1", two=b"2"), folder, force=False)
    assert caught.value.code == "client.exists"
    assert not (folder / "two").exists()
    assert (folder / "one").read_bytes() == b"mine"
    write_client(made(model, one=b"1"), folder, force=True)
    assert (folder / "one").read_bytes() == b"1"


def test_a_generated_file_that_was_changed_is_kept(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "client"
    write_client(made(model, one=b"1", old=b"old"), folder, force=False)
    (folder / "old").write_bytes(b"changed")
    write_client(made(model, one=b"1"), folder, force=False)
    assert (folder / "old").read_bytes() == b"changed"
    (folder / "one").write_bytes(b"changed")
    with pytest.raises(ConfigError, match="changed since: one"):
        write_client(made(model, one=b"1"), folder, force=False)


def test_a_link_leads_nowhere_else(tmp_path: Path, model: Path) -> None:
    folder, elsewhere = tmp_path / "client", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "model").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="leads out") as caught:
        write_client(made(model), folder, force=True)
    assert caught.value.code == "client.path"
    assert list(elsewhere.iterdir()) == []


def test_a_record_that_names_files_elsewhere_removes_none(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    digest = digest_bytes(b"model")
    files = {"../blob": digest, str(model): digest}
    (folder / RECORD).write_text(json.dumps({"bundle": "", "digest": "", "language": "", "files": files}))
    write_client(made(model), folder, force=False)
    assert model.exists()


@pytest.mark.parametrize("language", ["python", "swift"])
def test_the_same_bundle_gives_the_same_bytes(project: Project, tmp_path: Path, language: str) -> None:
    first, second = (project.client(language, tmp_path / name) for name in ("first", "second"))
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_bundle_that_no_given_key_signed_gives_no_client(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    assert project.pack("keys", "generate", other).returncode == 0
    ran = project.pack(
        "client", "photo:1@cloud", "-l", "cpp", "--key", other.with_suffix(".pub"), "--output", tmp_path / "client"
    )
    assert ran.returncode == 5
    assert "[signature.bad]" in ran.stderr
    assert not (tmp_path / "client").exists()


def test_the_result_names_the_folder_and_its_files(project: Project, tmp_path: Path) -> None:
    more = ("--form", "json", "--output", tmp_path / "client")
    ran = project.pack("client", "photo:1@cloud", "-l", "python", "--key", project.key, *more)
    result = json.loads(ran.stdout)
    assert result["folder"] == str(tmp_path / "client")
    assert result["bundle"] == "photo:1@cloud"
    assert all((tmp_path / "client" / name).is_file() for name in result["files"])
