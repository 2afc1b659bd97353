"""The reference page of the target, held to what the target has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from targets.fpga._hardware.devices import DEVICES
from targets.fpga._options import Options
from targets.fpga._registry import registry
from targets.fpga._trees.network import _OPERATORS as ENSEMBLES
from targets.fpga._vendor.options import Hls

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/targets/fpga.md").read_text(encoding="utf-8")


def table(head: str) -> list[list[str]]:
    """The cells of each row of the table whose first line starts with `head`."""
    lines = PAGE[PAGE.index(f"\n{head}") + 1 :].splitlines()[2:]
    rows = lines[: lines.index("")] if "" in lines else lines
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def quoted(cells: Iterable[str]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def codes(*folders: str) -> set[str]:
    """Every code of an error that the programs below these folders name."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {code for path in paths for code in re.findall(r'"(fpga\.[a-z.-]+)"', path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize(("head", "options"), [("| option | default", Options), ("| option of `hls`", Hls)])
def test_the_page_has_every_option_with_its_default(head: str, options: type[msgspec.Struct]) -> None:
    rows = {quoted([name])[0]: default for name, default, _ in table(head)}
    fields = {field.name: field.default for field in msgspec.structs.fields(options)}
    assert list(rows) == list(fields)
    for name, default in fields.items():
        if default and isinstance(default, str | bool | int | float):
            shown = f"{default:g}" if type(default) is float else json.dumps(default)
            said = rows[name].strip("`")
            assert said == shown or (type(default) is str and said == default), name


def test_the_page_has_every_device_with_what_it_has() -> None:
    assert table("| `device` | LUTs") == [
        [
            f"`{device.name}`",
            str(device.luts),
            str(device.flip_flops),
            str(device.dsps),
            f"{device.memories} of {device.memory_bits} bits",
        ]
        for device in DEVICES.values()
    ]


def test_the_page_has_every_operator_that_is_read() -> None:
    named = quoted(operators for operators, _ in table("| operators |"))
    assert sorted(named) == sorted([*registry.served(), *(f"ai.onnx.ml.{name}" for name in ENSEMBLES)])


def test_the_page_says_of_every_error_what_to_do() -> None:
    rows = re.findall(r"^\| (`fpga\.[^|]+)\|", PAGE, re.MULTILINE)
    named = quoted(rows)
    assert sorted(named) == sorted(codes("targets/fpga", "agent/runtimes"))
