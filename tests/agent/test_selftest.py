from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from agent import jobs
from agent.errors import SelfTestError
from agent.selftest import compare, read_golden
from agent.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_bundle_that_computes_what_it_should_passes(state: Path, forge: Any, batch: int | str) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1", batch="batch" if batch == 3 else batch))
    assert run(Slots(state).folder("digits", "a")) == jobs.Tested(samples=8)


def run(folder: Path) -> object:
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.selftest", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    line = process.stdout.readline()
    process.stdin.close()
    process.stdout.close()
    process.wait()
    return msgspec.json.decode(line, type=jobs.AnyLine)


@pytest.mark.parametrize(
    ("how", "code"), [("golden", "self-test.tolerance"), ("rotten", "bundle.digest"), ("empty", "slot.empty")]
)
def test_a_bundle_that_does_not_is_refused_with_a_code(state: Path, forge: Any, how: str, code: str) -> None:  # noqa: ANN401 - the forge of the conftest
    folder = Slots(state).folder("digits", "a")
    if how != "empty":
        forge.install(state, forge.make("1", wrong_golden=how == "golden"))
    if how == "rotten":
        entry = folder / "files" / "model.onnx"
        entry.unlink()
        entry.write_bytes(b"rotten")
    answer = run(folder)
    assert isinstance(answer, jobs.Failed)
    assert answer.fault.code == code


def test_a_self_test_ends_when_the_daemon_is_gone(state: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import agent.jobs, time; agent.jobs.end_with_input(); time.sleep(60)"],
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 75
    assert state.exists()


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b"no archive"), "can't be read"),
        (lambda path: np.savez_compressed(path, **{"input.x": np.zeros(9)}), "compressed"),
        (lambda path: np.savez(path, **{"input.x": np.array([{}], dtype=object)}), "can't be read"),
    ],
)
def test_golden_files_of_another_form_are_refused(tmp_path: Path, write: Any, reason: str) -> None:  # noqa: ANN401 - a function
    path = tmp_path / "golden.npz"
    write(path)
    with pytest.raises(SelfTestError, match=reason):
        read_golden(path)


def test_a_golden_file_beyond_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, **{"input.x": np.zeros(1000)})
    monkeypatch.setattr("agent.selftest.GOLDEN_LIMIT", 100)
    with pytest.raises(SelfTestError, match="too large"):
        read_golden(path)
    assert zipfile.is_zipfile(path)


SCORES = np.array([[0.9, 0.1, 0.0], [0.4, 0.4, 0.2]], dtype=np.float32)
LABELS = np.array([0, 1])


@pytest.fixture
def manifest(forge: Any) -> Any:  # noqa: ANN401 - the forge of the conftest
    return forge.make("1").manifest


def test_samples_whose_two_highest_scores_tie_may_get_either_label(manifest: Any) -> None:  # noqa: ANN401 - a manifest
    moved = SCORES + np.array([[0, 0, 0], [1e-6, 0, 0]], dtype=np.float32)
    compare({"scores": moved, "label": np.array([0, 0])}, {"scores": SCORES, "label": LABELS}, manifest)


@pytest.mark.parametrize(
    ("scores", "label", "code"),
    [
        (SCORES, np.array([1, 1]), "self-test.labels"),
        (SCORES + 0.01, LABELS, "self-test.tolerance"),
        (SCORES[:1], LABELS, "self-test.shape"),
        (np.full_like(SCORES, np.nan), LABELS, "self-test.tolerance"),
    ],
)
def test_outputs_that_differ_are_refused(manifest: Any, scores: Any, label: Any, code: str) -> None:  # noqa: ANN401 - arrays
    with pytest.raises(SelfTestError) as caught:
        compare({"scores": scores, "label": label}, {"scores": SCORES, "label": LABELS}, manifest)
    assert caught.value.code == code


def test_an_output_that_is_missing_is_refused(manifest: Any) -> None:  # noqa: ANN401 - a manifest
    with pytest.raises(SelfTestError) as caught:
        compare({"scores": SCORES}, {"scores": SCORES, "label": LABELS}, manifest)
    assert caught.value.code == "self-test.shape"


def test_a_regression_is_compared_by_tolerance_alone(manifest: Any) -> None:  # noqa: ANN401 - a manifest
    model = msgspec.structs.replace(manifest.model, task=msgspec.structs.replace(manifest.model.task, kind="unknown"))
    plain = msgspec.structs.replace(manifest, model=model)
    compare({"y": np.array([1.0005])}, {"y": np.array([1.0])}, plain)
    with pytest.raises(SelfTestError):
        compare({"y": np.array([1.1])}, {"y": np.array([1.0])}, plain)
    with pytest.raises(SelfTestError):
        compare({"y": np.array(["a"])}, {"y": np.array(["b"])}, plain)
