"""A tool is found where pip or PATH has it, and what goes wrong with it is said."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from targets._target import TargetError
from targets.fpga._hardware import tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def none_of_pips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty folder on PATH, and no tool from PyPI."""
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name.startswith(("yowasp", "apycula")) else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tools.tool.cache_clear()
    yield tmp_path
    tools.tool.cache_clear()


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    (folder / name).chmod(0o755)


@pytest.mark.usefixtures("none_of_pips")
def test_a_missing_toolchain_is_said_with_how_to_get_it() -> None:
    with pytest.raises(TargetError, match="'nextpnr-ecp5' is not installed") as raised:
        tools.tool("nextpnr-ecp5")
    assert raised.value.code == "fpga.toolchain"
    assert raised.value.hint.startswith("pip install packtrain[fpga]")


def test_a_native_tool_is_taken_from_path_and_said_to_be(none_of_pips: Path) -> None:
    program(none_of_pips, "yosys", 'echo "Yosys 0.99 (git sha1 abc)"')
    assert tools.tool("yosys").version == "0.99 (PATH)"


def test_a_tool_that_does_not_start_is_no_tool(none_of_pips: Path) -> None:
    program(none_of_pips, "yosys", "echo broken >&2; exit 3")
    with pytest.raises(TargetError, match="'yosys' does not start: broken"):
        tools.tool("yosys")


def test_a_tool_that_fails_is_reported_by_its_error_lines(none_of_pips: Path) -> None:
    program(
        none_of_pips, "yosys", 'test "$1" = -V && echo "Yosys 1.0" && exit; echo noise; echo "ERROR: no cells"; exit 1'
    )
    with pytest.raises(TargetError, match=r"'yosys' failed: ERROR: no cells$") as raised:
        tools.run("yosys", ["design"], none_of_pips, seconds=60, code="fpga.synthesis")
    assert raised.value.code == "fpga.synthesis"


def test_a_tool_that_takes_too_long_is_ended(none_of_pips: Path) -> None:
    program(none_of_pips, "yosys", 'test "$1" = -V && echo "Yosys 1.0" && exit; exec sleep 60')
    with pytest.raises(TargetError, match="'yosys' did not end within 1 s") as raised:
        tools.run("yosys", ["design"], none_of_pips, seconds=1, code="fpga.synthesis")
    assert raised.value.code == "fpga.toolchain-time"
