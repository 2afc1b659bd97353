from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packager.errors import ConfigError
from packager.store import bundles, create_store, find_bundle

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_that_is_not_there_holds_no_bundle(tmp_path: Path) -> None:
    assert list(bundles(tmp_path / "none")) == []
    with pytest.raises(ConfigError, match="no bundle 'digits:3@cloud'"):
        find_bundle("digits:3@cloud", tmp_path / "none")


def test_a_folder_that_holds_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="holds something that is not an OCI image layout"):
        create_store(tmp_path)


def test_a_reference_that_nothing_goes_by_says_what_is_there(tmp_path: Path) -> None:
    create_store(tmp_path / "store")
    with pytest.raises(ConfigError, match="no bundle 'digits:3@cloud'") as caught:
        find_bundle(f"oci:{tmp_path}/store:digits:3@cloud", tmp_path)
    assert caught.value.hint == "it holds: nothing"
    with pytest.raises(ConfigError, match="holds 0 bundles"):
        find_bundle(f"oci:{tmp_path}/store", tmp_path)
