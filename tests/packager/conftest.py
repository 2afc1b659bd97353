"""Running `pack` in this process, as its script would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Ran(NamedTuple):
    """What a run of `pack` left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """The JSON object on stdout."""
        return msgspec.json.decode(self.out, type=dict[str, object])


class Pack(Protocol):
    """Runs `pack` in the folder `at`."""

    def __call__(self, *arguments: str | Path, at: Path | None = None) -> Ran: ...


@pytest.fixture
def pack(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    from packager.cli import main

    # So that neither keys nor the cache of whoever runs the tests are touched.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("PACK_SIGNING_KEY", "PACK_SIGNING_PASSPHRASE", "PACK_CACHE", "PACK_DEBUG", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path, at: Path | None = None) -> Ran:
        capsys.readouterr()
        before = os.getcwd()  # noqa: PTH109 - monkeypatch.chdir would forget where it was between two runs
        os.chdir(at or tmp_path)
        try:
            code = main([str(argument) for argument in arguments])
        finally:
            os.chdir(before)
        return Ran(code, *capsys.readouterr())

    return run
