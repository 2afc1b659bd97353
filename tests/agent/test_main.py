"""`pack-agent` and what it says to whom has made a mistake; nothing here needs a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "device.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "root.json").write_text("{}")
    path = tmp_path / "agent.toml"
    path.write_text(
        'device = "camera-1"\nfleet = "demo"\nstate = "state"\ntargets = ["cloud"]\nkey = "device.key"\n'
        'root = "root.json"\n[broker]\nhost = "127.0.0.1"\nport = 1\n'
    )
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, said = capsys.readouterr()
    return ended.value.code, out, said


def test_version_is_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = refusal(capsys, "--version")
    assert (code, said) == (0, "")
    assert out.startswith("pack-agent ")


@pytest.mark.parametrize(("field", "file"), [("key", "device.key"), ("root", "root.json")])
@pytest.mark.parametrize("content", [None, "", "something else"])
def test_a_device_without_an_identity_does_not_start(
    config: Path, capsys: pytest.CaptureFixture[str], field: str, file: str, content: str | None
) -> None:
    path = config.parent / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    code, out, said = refusal(capsys, "run", "--config", str(config))
    assert (code, out) == (2, "")
    assert f"[config.{field}]" in said
    assert file in said
    assert not (config.parent / "state").exists()


def test_a_state_folder_that_cannot_be_made_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "state").write_text("a file")
    code, out, said = refusal(capsys, "run", "--config", str(config))
    assert (code, out) == (2, "")
    assert f"state folder '{config.parent / 'state'}' can't be used" in said
    assert "[config.state]" in said
