from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from manifests.errors import UncheckableError
from manifests.signing import read_private_key, read_public_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack

PHRASE = "correct horse"


def test_a_key_goes_where_pack_looks_for_it_and_is_private(pack: Pack, tmp_path: Path) -> None:
    ran = pack("keys", "generate", "--output", "json")
    assert ran.code == 0
    place = tmp_path / "configuration" / "packtrain" / "keys" / "pack.key"
    assert ran.document["private"] == str(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert read_private_key(place).public_key.keyid == ran.document["key_id"]


def test_a_key_is_never_overwritten(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "mine.key"
    assert pack("keys", "generate", path).code == 0
    before = path.read_bytes()
    ran = pack("keys", "generate", path)
    assert ran.code == 2
    assert "[keys.exists]" in ran.err
    assert path.read_bytes() == before


def test_a_passphrase_from_the_environment_encrypts_the_key(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PHRASE", PHRASE)
    path = tmp_path / "mine.key"
    assert pack("keys", "generate", path, "--passphrase-env", "MY_PHRASE").code == 0
    assert read_private_key(path, passphrase=PHRASE)
    with pytest.raises(UncheckableError):
        read_private_key(path)


def test_a_passphrase_that_is_not_there_makes_no_key(pack: Pack, tmp_path: Path) -> None:
    ran = pack("keys", "generate", tmp_path / "mine.key", "--passphrase-env", "MY_PHRASE")
    assert ran.code == 2
    assert not (tmp_path / "mine.key").exists()


def test_show_prints_a_public_key_that_can_be_verified_with(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "mine.key"
    made = pack("keys", "generate", path, "--output", "json").document
    shown = pack("keys", "show", path, "--output", "json").document
    assert shown["key_id"] == made["key_id"]
    (tmp_path / "copy.pub").write_text(shown["pem"])
    assert read_public_key(tmp_path / "copy.pub").keyid == made["key_id"]


def test_show_without_a_key_exits_5_and_says_how_to_get_one(pack: Pack) -> None:
    ran = pack("keys", "show")
    assert ran.code == 5
    assert "pack keys generate" in ran.err
