"""`pack score` on tables and arrays, by its own processes and by a cluster's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import distributed
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

PACK = [sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())"]
ROWS = 1000
RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((ROWS, 4)).astype(np.float32)
WEIGHTS = RANDOM.standard_normal((4, 3)).astype(np.float32)
COLUMNS = ("a", "b", "c", "d")


class Project(NamedTuple):
    folder: Path
    key: Path
    environment: dict[str, str]

    def score(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [*PACK, "score", "scores:1@cloud", "--key", str(self.key), *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == code, ran.stderr
        return ran


def classifier() -> onnx.ModelProto:
    """Scores of three classes; it fails on a row whose index is out of the table."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Gather", ["table", "place"], ["offset"]),
        helper.make_node("Add", ["m", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scores",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("place", TensorProto.INT64, ["n"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.zeros((16, 3), np.float32), "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: np.ndarray) -> np.ndarray:
    logits = x @ WEIGHTS
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    top = tmp_path_factory.mktemp("scoring")
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(top / "configuration"),
        "XDG_CACHE_HOME": str(top / "cache"),
    }
    folder = top / "project"
    folder.mkdir()
    onnx.save(classifier(), folder / "model.onnx")
    (folder / "pack.toml").write_text(
        '[model]\nname = "scores"\nversion = "1"\nsource = "model.onnx"\n'
        '[model.task]\nkind = "classification"\noutput = "scores"\nlabels = ["red", "green", "blue"]\n[targets.cloud]\n'
    )
    for command in (["keys", "generate"], ["-t", "cloud"]):
        ran = subprocess.run(
            [*PACK, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    (key,) = (top / "configuration").rglob("*.pub")
    return Project(folder, key, environment)


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """The same bundle, in a folder of the test's own for inputs and outputs."""
    (tmp_path / ".pack").symlink_to(built.folder / ".pack")
    return Project(tmp_path, built.key, built.environment)


def table(place: list[int | None] | None = None) -> pa.Table:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 4)
    places = place or (np.arange(ROWS) % 16).tolist()
    return pa.table({"id": [f"row{number}" for number in range(ROWS)], "x": lists, "place": places})


def test_a_parquet_file_is_scored_in_order_with_labels_and_kept_columns(project: Project) -> None:
    pa.parquet.write_table(table(), project.folder / "in.parquet", row_group_size=137)
    ran = project.score(
        "--input", "in.parquet", "--output", "out.parquet", "--keep", "id", "--rows", "100", "--form", "json"
    )
    assert json.loads(ran.stdout) == {"output": "out.parquet", "rows": ROWS, "failed": 0, "resumed": 0}
    got = pa.parquet.read_table(project.folder / "out.parquet")
    assert got.column("id").to_pylist() == [f"row{number}" for number in range(ROWS)]
    scores = np.array(got.column("scores").to_pylist())
    np.testing.assert_allclose(scores, expected(X), rtol=1e-5)
    labels = np.array(["red", "green", "blue"])[expected(X).argmax(axis=1)]
    assert got.column("label").to_pylist() == labels.tolist()
    assert not (project.folder / "out.parquet.errors.jsonl").exists()
    assert not (project.folder / "out.parquet.parts").exists()


@pytest.mark.parametrize("suffix", [".csv", ".arrow", ".npz"])
def test_every_format_holds_the_same_scores(project: Project, suffix: str) -> None:
    np.savez(project.folder / "in.npz", x=X, place=np.arange(ROWS) % 16)
    project.score("--input", "in.npz", "--output", f"out{suffix}", "--workers", "1")
    path = project.folder / f"out{suffix}"
    if suffix == ".npz":
        scores = np.load(path)["scores"]
    elif suffix == ".csv":
        got = pa.csv.read_csv(path)
        scores = np.stack([got.column(f"scores.{place}").to_numpy() for place in range(3)], axis=1)
    else:
        scores = np.array(pa.ipc.open_file(path).read_all().column("scores").to_pylist())
    np.testing.assert_allclose(scores, expected(X), rtol=1e-5)


def test_rows_that_fail_cost_only_themselves_and_are_listed(project: Project) -> None:
    places: list[int | None] = (np.arange(ROWS) % 16).tolist()
    places[7], places[503] = 99, None
    pa.parquet.write_table(table(places), project.folder / "in.parquet")
    ran = project.score("--input", "in.parquet", "--output", "out.parquet", "--rows", "256")
    assert "2 rows could not be scored" in ran.stderr
    lines = [json.loads(line) for line in (project.folder / "out.parquet.errors.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == [7, 503]
    assert "out of" in lines[0]["error"]
    assert lines[1]["error"] == "column 'place' is empty"
    got = pa.parquet.read_table(project.folder / "out.parquet")
    scores = np.array(got.column("scores").to_pylist())
    fine = np.ones(ROWS, bool)
    fine[[7, 503]] = False
    assert got.column("ok").to_pylist() == fine.tolist()
    np.testing.assert_allclose(scores[fine], expected(X)[fine], rtol=1e-5)
    assert np.isnan(scores[~fine]).all()


def test_an_interrupted_run_goes_on_where_it_stopped(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifests.signing import read_public_key
    from packager.opening import open_bundle
    from packager.scoring import running

    monkeypatch.chdir(project.folder)
    pa.parquet.write_table(table(), project.folder / "in.parquet")
    order = running.Order(
        source=project.folder / "in.parquet", output=project.folder / "out.parquet",
        columns=(), keep=(), rows=100, workers=1, cluster="",
    )  # fmt: skip

    class PowerCut(BaseException):
        pass

    def told(rows: int, total: int | None) -> None:
        assert total == ROWS
        if rows == 400:
            raise PowerCut

    opened = open_bundle(
        "scores:1@cloud", project.folder / ".pack" / "store", [read_public_key(project.key)], workers=1
    )
    with pytest.raises(PowerCut):
        running.score(order, opened, told)
    seen: list[int] = []
    summary = running.score(order, opened, lambda rows, _: seen.append(rows))
    opened.close()
    assert summary == running.Summary(rows=ROWS, failed=0, resumed=400)
    assert seen == [500, 600, 700, 800, 900, 1000]
    got = pa.parquet.read_table(project.folder / "out.parquet")
    np.testing.assert_allclose(np.array(got.column("scores").to_pylist()), expected(X), rtol=1e-5)


def test_parts_of_another_run_are_not_joined_with_this_one(project: Project) -> None:
    pa.parquet.write_table(table(), project.folder / "in.parquet")
    parts = project.folder / "out.parquet.parts"
    parts.mkdir()
    (parts / "run.json").write_text("{}")
    ran = project.score("--input", "in.parquet", "--output", "out.parquet", code=2)
    assert "parts of another run" in ran.stderr
    assert (parts / "run.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.parquet", b"PAR1 no", "can't be read"),
        ("in.npz", b"PK no", "can't be read"),
        ("in.txt", b"1", "expected a folder of parquet files, or one of"),
        ("in.csv", b"x\n1\n", "has no 'place': it has x"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(project: Project, name: str, content: bytes, words: str) -> None:
    (project.folder / name).write_bytes(content)
    ran = project.score("--input", name, "--output", "out.csv", code=2)
    assert words in ran.stderr


def test_a_dask_cluster_of_two_workers_scores_the_same(project: Project) -> None:
    pa.parquet.write_table(table(), project.folder / "in.parquet")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        project.score(
            "--input", "in.parquet", "--output", "out.parquet", "--rows", "100", "--cluster", f"dask://{address}"
        )
    got = pa.parquet.read_table(project.folder / "out.parquet")
    np.testing.assert_allclose(np.array(got.column("scores").to_pylist()), expected(X), rtol=1e-5)
