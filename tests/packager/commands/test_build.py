from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from manifests.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.packager.conftest import Pack

FAKES = Path(__file__).parents[2] / "fakes" / "plugin"
MODEL = """
[model]
name = "small"
version = "3"
source = "model.onnx"
"""


class Project(Protocol):
    """Writes a project with those tables, and gives its folder."""

    def __call__(self, tables: str) -> Path: ...


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [weights],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def project(pack: Pack, model: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    del pack  # it has cleared the environment
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("PACK_CACHE", str(shared_cache))

    def write(tables: str) -> Path:
        (model.parent / "pack.toml").write_text(MODEL + tables)
        return model.parent

    return write


def test_pack_builds_signs_and_what_it_prints_can_be_verified(pack: Pack, project: Project) -> None:
    folder = project('[gates]\nsize = "64 KB"\n[targets.cloud]\n')
    key = pack("keys", "generate", "-o", "json").document
    ran = pack("-C", folder, "-o", "json")
    assert ran.code == 0
    (bundle,) = ran.document["bundles"]
    assert bundle["reference"] == "small:3@cloud"
    assert bundle["key_id"] == key["key_id"]
    assert [(gate["name"], gate["verdict"]) for gate in bundle["gates"]] == [
        ("parity", "passed"),
        ("accuracy", "no-data"),
        ("size", "passed"),
    ]
    assert (ran.document["failures"], ran.document["skipped"]) == ([], [])
    verified = pack("verify", bundle["digest"], "--key", key["public"], "-C", folder, "-o", "json")
    assert verified.document["keys"] == [key["key_id"]]


def test_the_reference_shows_the_fields_that_are_printed(pack: Pack, project: Project, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "pack.md").read_text()
    shown = json.loads(page.partition("```json")[2].partition("```")[0])
    np.savez(tmp_path / "data.npz", x=np.eye(4, dtype=np.float32), label=[0, 1, 2, 0])
    data = '[data]\nevaluation = "data.npz"\nlabel = "label"\n[model.task]\nkind = "classification"\n'
    folder = project(data + '[gates]\nsize = "64 KB"\n[targets.cloud]\n[targets.null]\ngates.size = "1 B"\n')
    assert fields(pack("-C", folder, "--unsigned", "-k", "-o", "json").document) == fields(shown)


def fields(document: object) -> object:
    """The names in a JSON document; of a list only the first entry counts, and an empty one shows nothing."""
    if isinstance(document, dict):
        return {name: fields(value) for name, value in document.items() if name not in {"gates", "notes"}}
    return fields(document[0]) if isinstance(document, list) and document else None


def test_tags_alone_stand_on_stdout_in_the_order_of_pack_toml(pack: Pack, project: Project) -> None:
    folder = project("[targets.null]\n[targets.cloud]\n[targets.null-static]\n")
    ran = pack("-C", folder, "--unsigned", "-t", "cloud", "-t", "null", "-o", "tag")
    assert ran.code == 0
    assert ran.out == "small:3@null\nsmall:3@cloud\n"
    assert "warning: null: this runs nowhere" in ran.err


def test_people_see_what_was_measured(pack: Pack, project: Project) -> None:
    ran = pack("-C", project("[targets.cloud]\n"), "--unsigned")
    reference, digest, *rows = ran.out.splitlines()
    assert reference == "small:3@cloud"
    assert digest.startswith("  sha256:")
    assert [row.split()[0] for row in rows] == [
        "size", "accuracy", "latency", "signed", "built", "gate", "parity", "accuracy"
    ]  # fmt: skip
    assert "cloud: convert, " in ran.err


def test_a_failed_gate_exits_4_with_a_table_of_limit_and_value_and_no_bundle(pack: Pack, project: Project) -> None:
    folder = project('[gates]\nsize = "10 B"\n[targets.cloud]\n')
    ran = pack("-C", folder, "--unsigned")
    assert ran.code == 4
    assert ran.out == ""
    rows = [line.split() for line in ran.err.splitlines()]
    assert ["gate", "limit", "value", "verdict"] in rows
    (size,) = (row for row in rows if row[:1] == ["size"])
    assert size[1:3] == ["10", "B"]
    assert size[-1] == "failed"
    assert "error: cloud: failed its gates: size" in ran.err
    assert Layout.open(folder / ".pack" / "store").references() == []


def test_of_several_failures_the_lowest_exit_code_counts(pack: Pack, project: Project) -> None:
    folder = project('[targets.null]\nfault = "crash"\n[targets.cloud]\ngates.size = "10 B"\n')
    ran = pack("-C", folder, "--unsigned", "--keep-going", "-o", "json")
    assert [failure["exit_code"] for failure in ran.document["failures"]] == [3, 4]
    assert ran.code == 3


def test_a_failure_without_keep_going_names_the_targets_that_were_left_out(pack: Pack, project: Project) -> None:
    folder = project('[targets.null]\nfault = "refuse"\n[targets.cloud]\n')
    ran = pack("-C", folder, "--unsigned", "--jobs", "1", "-o", "json")
    assert ran.code == 3
    assert ran.document["skipped"] == ["cloud"]
    assert ran.document["failures"][0]["hint"] == "ask for something else"
    assert "hint: --keep-going builds what it can" in ran.err


def test_a_first_look_at_a_model_needs_no_pack_toml_and_says_that_it_is_unsigned(
    pack: Pack, project: Project, model: Path, tmp_path: Path
) -> None:
    del project  # it has set the cache
    (tmp_path / "elsewhere").mkdir()
    ran = pack("--model", model, "--target", "cloud", "-o", "json", at=tmp_path / "elsewhere")
    assert ran.code == 0
    assert ran.document["bundles"][0]["reference"] == "model:0@cloud"
    assert ran.document["bundles"][0]["key_id"] is None
    assert ran.err.startswith("warning: the bundle stays unsigned")


def test_a_dry_run_builds_nothing_and_a_plan_tells_what_the_cache_has(
    pack: Pack, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = project("[targets.cloud]\n")
    monkeypatch.setenv("PACK_CACHE", str(tmp_path / "empty-cache"))
    before = pack("-C", folder, "--dry-run", "-o", "json").document["targets"]
    assert not (folder / ".pack").exists()
    assert (before[0]["reference"], before[0]["cached"]) == ("small:3@cloud", False)
    assert pack("-C", folder, "--unsigned").code == 0
    after = pack("plan", "-C", folder, "-o", "json").document["targets"]
    assert after[0]["cached"] is True
    assert pack("-C", folder, "--unsigned", "-o", "json").document["bundles"][0]["cached"] is True


def test_a_key_with_a_passphrase_signs_when_it_is_given_and_else_exits_5(
    pack: Pack, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("[targets.cloud]\n")
    monkeypatch.setenv("PHRASE", "correct horse")
    pack("keys", "generate", "--passphrase-env", "PHRASE")
    ran = pack("-C", folder)
    assert ran.code == 5
    assert "PACK_SIGNING_PASSPHRASE" in ran.err
    monkeypatch.setenv("PACK_SIGNING_PASSPHRASE", "correct horse")
    assert pack("-C", folder).code == 0


def test_an_interruption_ends_the_workers_and_leaves_nothing_half_written(project: Project, tmp_path: Path) -> None:
    folder = project('[targets.null]\nfault = "hang"\n')
    program = "import sys; from packager.cli import main; sys.exit(main())"
    environment = os.environ | {"PACK_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        [sys.executable, "-c", program, "-C", folder, "--unsigned"], stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        wait_until(lambda: len(workers(tmp_path / "cache", "conversion")) == 1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "[interrupted]" in said
    wait_until(lambda: not workers(tmp_path / "cache", "conversion"))
    assert [path.name for path in (tmp_path / "cache" / "scratch").iterdir()] == ["lock"]
    assert Layout.open(folder / ".pack" / "store").references() == []


def workers(cache: Path, kind: str) -> list[str]:
    """The jobs of that kind in this cache that a living process works on."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_text().split("\0")
            if "packager.worker" in arguments and arguments[-2].startswith(str(cache)):
                found.append((Path(arguments[-2]) / "job.json").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [job for job in found if f'"{kind}"' in job]


def wait_until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
