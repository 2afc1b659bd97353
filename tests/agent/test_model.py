from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.applications import attached
from agent.errors import AgentError
from agent.model import Model
from agent.slots import Slots
from manifests.durable import write_durably
from manifests.errors import DigestMismatchError
from manifests.manifest import BaselineSection, FeatureBaseline, TaskSection
from wire.messages import Running, Window, decode
from wire.recorder import Recorder
from wire.sketches import count_in_bins
from wire.spool import Settings, write_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DARK, BRIGHT = np.zeros((1, 4), dtype=np.float32), np.full((1, 4), 2, dtype=np.float32)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def windows(state: Path) -> list[Window]:
    return [decode(path.read_bytes(), Window) for path in sorted((state / "spool").glob("*.window"))]


def test_an_array_goes_in_and_named_arrays_come_out(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1"))
    with Model("digits", state=state) as model:
        outputs = model.predict(np.concatenate([DARK, BRIGHT]))
        assert set(outputs) == {"scores", "label"}
        assert outputs["scores"].shape == (2, 3)
        assert outputs["label"].tolist() == [0, 2]
        assert model.predict({"pixels": BRIGHT})["label"].tolist() == [2]
        assert model.classify(np.concatenate([BRIGHT, DARK])) == ["bright", "dark"]
        assert (model.version, model.labels) == ("1", ("dark", "mixed", "bright"))
        assert [tensor.name for tensor in model.signature.inputs] == ["pixels"]


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_rows_beyond_a_fixed_batch_are_split_and_joined(state: Path, forge: Any, rows: int) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1", batch=4))
    pixels = np.random.default_rng(rows).uniform(0, 2, (rows, 4)).astype(np.float32)
    with Model("digits", state=state) as model:
        together = model.predict(pixels)
        apart = [model.predict(pixels[row : row + 1]) for row in range(rows)]
    for name, array in together.items():
        assert array.shape[0] == rows
        np.testing.assert_allclose(array, np.concatenate([one[name] for one in apart]), rtol=1e-6)


def test_a_new_version_takes_over_without_a_failed_call(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    first, second, third = forge.make("1"), forge.make("2"), forge.make("3")
    forge.install(state, first)
    seen: set[str] = set()
    failed: list[BaseException] = []
    end = threading.Event()
    with Model("digits", state=state) as model:

        def serve() -> None:
            while not end.is_set():
                try:
                    seen.add(model.version)
                    model.predict(BRIGHT)
                except BaseException as error:  # noqa: BLE001 - no call may fail, in whatever way
                    failed.append(error)

        threads = [threading.Thread(target=serve) for _ in range(3)]
        for thread in threads:
            thread.start()
        for bundle in (second, third, first):
            forge.install(state, bundle)
            eventually(lambda bundle=bundle: model.bundle == bundle.digest)
        end.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert seen == {"1", "2", "3"}
    calls = {window.version for window in windows(state)}
    assert calls == {"1", "2", "3"}


def test_a_version_that_can_not_be_opened_leaves_the_old_one_and_is_told(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    first, second = forge.make("1"), forge.make("2")
    forge.install(state, first)
    with Model("digits", state=state) as model:
        forge.install(state, second, active=False)
        entry = Slots(state).folder("digits", "b") / "files" / "model.onnx"
        entry.unlink()
        entry.write_bytes(b"rotten")
        Slots(state).switch("digits", "b")
        eventually(lambda: attached(state, "digits")[0].refused == second.digest)
        health = attached(state, "digits")[0]
        assert health.fault is not None
        assert health.fault.code == "bundle.digest"
        assert model.predict(BRIGHT)["label"].tolist() == [2]
        Slots(state).switch("digits", "a")
        eventually(lambda: not attached(state, "digits")[0].refused)
        assert model.version == "1"


def test_a_file_that_rotted_on_the_disk_is_not_opened(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1"))
    entry = Slots(state).folder("digits", "a") / "files" / "model.onnx"
    data = entry.read_bytes()
    entry.unlink()
    entry.write_bytes(data[:-1] + b"x")
    with pytest.raises(DigestMismatchError):
        Model("digits", state=state)


def test_a_model_that_is_not_there_is_an_error_with_a_hint(state: Path) -> None:
    with pytest.raises(AgentError, match="no version of model 'digits'") as caught:
        Model("digits", state=state)
    assert caught.value.hint


def test_the_state_folder_comes_from_the_environment(
    state: Path,
    forge: Any,  # noqa: ANN401 - the forge of the conftest
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forge.install(state, forge.make("1"))
    monkeypatch.setenv("PACK_AGENT_STATE", str(state))
    with Model("digits") as model:
        assert model.version == "1"


def test_what_was_seen_becomes_a_window(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    bundle = forge.make("1")
    forge.install(state, bundle)
    with Model("digits", state=state) as model:
        model.predict(DARK)
        model.predict(np.concatenate([BRIGHT, BRIGHT]))
        model.predict(np.array([[math.nan, 0.5, 0.6, 1.5]], dtype=np.float32))
        with pytest.raises(ValueError, match="dtype"):
            model.predict(np.zeros((1, 4)))
    (window,) = windows(state)
    assert (window.model, window.version, window.bundle) == ("digits", "1", bundle.digest)
    assert (window.calls, window.rows, window.errors, window.latency.count) == (4, 4, {"ValueError": 1}, 4)
    assert [(entry.counts, entry.missing) for entry in window.features] == [
        ((1, 0, 0, 2), 1),
        ((2, 0, 0, 2), 0),
        ((1, 1, 0, 2), 0),
        ((1, 0, 1, 2), 0),
    ]
    assert sum(window.predictions) == 4
    assert window.start <= window.end


def test_windows_are_closed_at_the_interval_that_the_daemon_says(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1"))
    write_settings(state, Settings(interval=0.3), write_durably)
    with Model("digits", state=state) as model:
        model.predict(DARK)
        eventually(lambda: len(windows(state)) == 1)
        model.predict(DARK)
        eventually(lambda: len(windows(state)) == 2)
    assert [window.sequence for window in windows(state)] == [0, 1]


def test_an_application_is_attached_while_it_lives_whatever_ends_it(state: Path, forge: Any) -> None:  # noqa: ANN401 - the forge of the conftest
    forge.install(state, forge.make("1"))
    code = f"import os, pathlib; from agent.model import Model; m = Model('digits', state=pathlib.Path({str(state)!r})); print('up', flush=True); input()"  # noqa: E501 - one program
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert [health.pid for health in attached(state, "digits")] == [process.pid]
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert attached(state, "digits") == []


EDGES = (-1.0, 0.0, 0.5, 2.0)
VALUES = st.one_of(st.floats(width=32, allow_nan=True), st.sampled_from(EDGES))


@settings(deadline=None)  # a timing is never asserted
@given(table=arrays.arrays(np.float32, st.tuples(st.integers(0, 600), st.just(3)), elements=VALUES))
def test_counts_in_bins_are_those_of_the_definition(table: Any) -> None:  # noqa: ANN401 - a numpy array
    features = (
        FeatureBaseline(name="x", input="in", index=2, edges=EDGES, counts=(0, 0, 0, 0, 0)),
        FeatureBaseline(name="y", input="in", index=0, edges=(0.5,), counts=(0, 0)),
        FeatureBaseline(name="none", input="in", index=1, edges=(), counts=(0,)),
    )
    running = Running(version="1", counter=1, target="cloud", bundle="sha256:" + "0" * 64)
    baseline = BaselineSection(samples=1, features=features)
    recorder = Recorder("digits", running, baseline, TaskSection(), boot="b", clock=lambda: 0.0)
    for part in np.array_split(table, 3):
        if len(part):
            recorder.add({"in": part}, {}, rows=len(part), seconds=0.001)
    window = recorder.close_window(0)
    if not len(table):
        assert window is None
        return
    assert window is not None
    for feature, counted in zip(features, window.features, strict=True):
        column = table[:, feature.index].astype(float).tolist()
        assert counted.counts == count_in_bins(column, feature.edges)
        assert counted.missing == sum(math.isnan(value) for value in column)
