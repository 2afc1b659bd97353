from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("numpy", "onnx", "onnxruntime", "onnx_ir", "sklearn", "mlflow", "ai_edge_litert")
PROGRAM = """
import sys
from packager.cli import main
code = main(sys.argv[1:])
loaded = {name.partition(".")[0] for name in sys.modules}
print(",".join(sorted(loaded)), file=sys.stderr)
sys.exit(code)
"""


def loaded_by(*arguments: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return set(ran.stderr.splitlines()[-1].split(","))


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["targets"], ["targets", "--output", "json"], ["schema"], ["keys", "--help"]],
    ids=" ".join,
)
def test_a_light_command_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments).isdisjoint(HEAVY)


def test_making_a_key_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by("keys", "generate", str(tmp_path / "pack.key")).isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_the_first_words_need_neither_tables_nor_cryptography(arguments: list[str]) -> None:
    assert loaded_by(*arguments).isdisjoint({"rich", "cryptography", "securesystemslib", "msgspec", "pydantic"})
