"""Bundles on a real Arm computer, by ssh: the self-test, and latencies.

EDGE_ARM_HOST names it as ssh does; EDGE_ARM_PYTHON there is a Python with packtrain's `litert` extra's packages
(default: python3). Nothing is installed; what is copied goes into a folder of its own and is removed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest

from agent import jobs
from hw_tests.edge_arm.conftest import CASES
from hw_tests.edge_arm.processes import SECONDS, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hw_tests.edge_arm.conftest import Packed

    Pack = Callable[[str], Packed]

ROOM = Path(__file__).parents[2]
CODE = ("agent", "manifests", "wire")
COUNT = 30
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


class Board(NamedTuple):
    host: str
    python: str
    folder: str

    def run(self, command: str, *, given: bytes | None = None) -> bytes:
        """What the command prints there."""
        done = subprocess.run(
            ["ssh", *OPTIONS, self.host, command], input=given, capture_output=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def send(self, folder: Path, name: str) -> str:
        """Copy a folder there; its path is returned."""
        packed = subprocess.run(
            ["tar", "-C", folder, "--exclude=__pycache__", "-c", "."], capture_output=True, check=True
        )
        place = f"{self.folder}/{name}"
        self.run(f"mkdir -p {shlex.quote(place)} && tar -C {shlex.quote(place)} -x", given=packed.stdout)
        return place


@pytest.fixture(scope="session")
def board() -> Iterator[Board]:
    host = os.environ.get("EDGE_ARM_HOST")
    if not host:
        pytest.skip("EDGE_ARM_HOST names no Arm computer")
    made = Board(host, os.environ.get("EDGE_ARM_PYTHON", "python3"), "")
    board = made._replace(folder=made.run("mktemp -d").decode().strip())
    try:
        for name in CODE:
            board.send(ROOM / name, f"code/{name}")
        board.send(Path(__file__).parent, "tests")
        yield board
    finally:
        board.run(f"rm -rf {shlex.quote(board.folder)}")


@pytest.mark.parametrize("name", CASES)
def test_the_agents_self_test_passes(board: Board, packed: Pack, name: str) -> None:
    bundle = packed(name)
    slot = board.send(bundle.slot, f"slots/{name}")
    command = f"cd {board.folder}/code && {board.python} -m agent.selftest {slot}"
    line = answer(["ssh", *OPTIONS, board.host, command]).strip().splitlines()[-1]
    assert msgspec.json.decode(line, type=jobs.Tested).samples == bundle.manifest.golden.samples


@pytest.mark.parametrize("name", CASES)
def test_the_latency_is_measured(
    board: Board, packed: Pack, name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    bundle = packed(name)
    slot = board.send(bundle.slot, f"slots/{name}")
    random = np.random.default_rng(7)
    given = {
        entry.name: random.standard_normal([int(size) for size in entry.shape]).astype(entry.dtype)
        for entry in bundle.manifest.signature.inputs
    }
    np.savez(tmp_path / "given.npz", **given)
    place = board.send(tmp_path, f"given/{name}")
    words = [f"{board.folder}/tests/calls.py", f"{slot}/files/{bundle.manifest.runtime.entry}"]
    words += [f"{place}/given.npz", f"{place}/out.npz", str(COUNT)]
    command = f"PYTHONPATH={board.folder}/code {board.python} {shlex.join(words)}"
    milliseconds = float(board.run(command).decode().split()[-1])
    record_property("milliseconds", milliseconds)
    print(f"{name}: {milliseconds:.2f} ms")  # noqa: T201 - what this test is for
    assert milliseconds > 0
