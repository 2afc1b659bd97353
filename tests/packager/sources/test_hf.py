"""The Hugging Face Hub's cache, laid out as its documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packager.errors import ConfigError, ConversionError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.sources.conftest import Fetch

COMMITS = {"main": "0123456789abcdef0123456789abcdef01234567", "v2": "fedcba9876543210fedcba9876543210fedcba98"}


class Hub:
    """A cache with the repository acme/digits."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "models--acme--digits"

    def add(self, files: dict[str, bytes], revision: str = "main") -> Path:
        """Files of a revision; its snapshot is returned."""
        commit = COMMITS[revision]
        snapshot = self.repository / "snapshots" / commit
        blobs = self.repository / "blobs"
        for folder in (snapshot, blobs, self.repository / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.repository / "refs" / revision).write_text(commit)
        for number, (name, content) in enumerate(files.items()):
            blob = blobs / f"{commit[:8]}{number}"
            blob.write_bytes(content)
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).symlink_to(blob)
        return snapshot


@pytest.fixture
def hub(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    del project
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Hub(tmp_path / "hub")


def test_onnx_is_chosen_before_weights_and_comes_with_its_data(hub: Hub, fetch: Fetch) -> None:
    hub.add(
        {
            "config.json": b"{}",
            "model.safetensors": b"weights",
            "onnx/model.onnx": b"net",
            "onnx/model.onnx_data": b"data",
            "onnx/model_int8.onnx": b"small",
        }
    )
    fetched = fetch("hf:acme/digits")
    assert {path.name: path.read_bytes() for path in fetched.path.iterdir()} == {
        "model.onnx": b"net",
        "model.onnx_data": b"data",
    }
    assert (fetched.reference, fetched.version) == ("hf:acme/digits", "0123456789ab")
    assert fetch("hf:acme/digits#onnx/model_int8.onnx").path.read_bytes() == b"small"


def test_a_revision_is_a_branch_or_a_commit(hub: Hub, fetch: Fetch) -> None:
    hub.add({"net.onnx": b"one"})
    hub.add({"net.onnx": b"two"}, "v2")
    assert fetch("hf:acme/digits").path.read_bytes() == b"one"
    assert fetch("hf:acme/digits@v2").path.read_bytes() == b"two"
    assert fetch(f"hf:acme/digits@{COMMITS['v2']}").path.read_bytes() == b"two"


def test_a_snapshots_folder_is_taken_as_it_is(hub: Hub, fetch: Fetch) -> None:
    snapshot = hub.add({"net.onnx": b"one"})
    fetched = fetch(f"hf:{snapshot}")
    assert (fetched.path.read_bytes(), fetched.reference) == (b"one", f"hf:{COMMITS['main']}")


def test_weights_without_a_graph_are_refused_with_what_to_export(hub: Hub, fetch: Fetch) -> None:
    hub.add({"config.json": b"{}", "model.safetensors": b"weights"})
    with pytest.raises(ConversionError, match=r"weights without a graph: model\.safetensors") as caught:
        fetch("hf:acme/digits")
    assert "optimum-cli export onnx --model acme/digits" in caught.value.hint


def test_several_models_are_not_guessed_among(hub: Hub, fetch: Fetch) -> None:
    hub.add({"a.onnx": b"a", "b.onnx": b"b"})
    with pytest.raises(ConfigError, match=r"has 2 models: a.onnx, b.onnx") as caught:
        fetch("hf:acme/digits")
    assert caught.value.hint == "hf:acme/digits#a.onnx"


def test_a_link_that_leads_out_of_the_repository_is_refused(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    snapshot = hub.add({})
    (tmp_path / "private").write_bytes(b"private")
    (snapshot / "net.onnx").symlink_to(tmp_path / "private")
    with pytest.raises(ConversionError, match="leads out of the repository"):
        fetch("hf:acme/digits")


def test_what_is_not_in_the_cache_is_refused_with_the_command_that_gets_it(hub: Hub, fetch: Fetch) -> None:
    del hub
    with pytest.raises(ConfigError, match="not in the cache of the Hugging Face Hub") as caught:
        fetch("hf:acme/digits@v2")
    assert caught.value.hint == "hf download acme/digits --revision v2"
    with pytest.raises(ConfigError, match="expected hf:ORG/NAME"):
        fetch("hf:digits")
