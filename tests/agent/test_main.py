"""`pack-agent` and what it says to whom has made a mistake; nothing here needs a broker."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.__main__ import main
from agent.status import ModelStatus, Status, render_status
from wire.messages import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """`pack-agent run` takes SIGINT for itself; the test's own process wants it back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, disposition in before.items():
        signal.signal(number, disposition)


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


def test_a_signal_that_comes_while_the_daemon_loads_ends_it_in_order(config: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "class Signalling:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'agent.daemon': os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Signalling())\n"
        "from agent.__main__ import main\n"
        "main(['run', '--config', sys.argv[1]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(("number", "told"), [(0, "0 applications"), (1, "1 application"), (2, "2 applications")])
def test_status_counts_in_words_that_agree(number: int, told: str) -> None:
    model = ModelStatus(state=ModelState(model="digits", state="empty"), applications=number)
    status = Status(
        device="cam", fleet="demo", running=True, assignment=1, models=(model,), unsent_steps=1, unsent_windows=0
    )
    first, second = render_status(status, "text").splitlines()
    assert first.endswith("1 step and 0 windows to send")
    assert second.endswith(told)
