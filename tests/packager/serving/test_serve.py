"""`pack serve`, over real sockets and by other people's clients."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jsonschema
import pytest

from manifests.durable import write_durably
from manifests.signing import generate_key, write_key
from tests.packager.servers import locked
from tests.packager.serving.conftest import PACK
from wire.messages import Window, decode
from wire.spool import Settings, Spool, write_settings

if TYPE_CHECKING:
    from tests.packager.serving.conftest import Serve, Server, Shop

INFER = "/v2/models/scale/infer"


def request(rows: int = 1, **changes: object) -> dict[str, object]:
    tensors = [
        {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": list(range(4 * rows))},
        {"name": "kind", "shape": [rows], "datatype": "INT64", "data": [0] * rows},
    ]
    tensors[0].update(changes)
    return {"inputs": tensors}


def outputs(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    return {entry["name"]: entry["data"] for entry in answer.json()["outputs"]}


def wait_for(server: Server, words: str) -> None:
    until = time.monotonic() + 30
    while not any(words in line for line in server.lines):
        assert time.monotonic() < until, server.lines
        time.sleep(0.05)


def test_a_request_is_answered_and_described_and_counted(serve: Serve) -> None:
    with serve("scale:1@cloud") as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/v2").json()["name"] == "packtrain"
        described = client.get("/v2/models/scale").json()
        assert described["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
        answer = client.post(INFER, json=request(2) | {"id": "mine"})
        assert answer.json()["id"] == "mine"
        assert outputs(answer) == {"y": [10.0 * value for value in range(8)], "flag": [False, False]}
        nested = request(2, data=[[0, 1, 2, 3], [4, 5, 6, 7]])
        assert outputs(client.post("/v2/models/scale/versions/1/infer", json=nested)) == outputs(answer)
        document = client.get("/openapi.json").json()
        schemas = {"$defs": document["components"]["schemas"]}
        checked = {**schemas["$defs"]["InferenceRequest"]}
        jsonschema.validate(request(2), checked)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(request(2, datatype="FP64"), checked)
        jsonschema.validate(answer.json(), schemas["$defs"]["InferenceResponse"])
        figures = client.get("/metrics").text
        assert 'pack_requests_total{model="scale",outcome="ok",version="1"} 2.0' in figures
        assert 'pack_bundle_info{digest="sha256:' in figures


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (request(datatype="FP64"), 400, "input 'x': expected FP32, got FP64"),
        (request(shape=[1, 5]), 400, "input 'x': expected shape ['batch', 4], got [1, 5]"),
        (request(data=[1, 2, 3]), 400, "input 'x': data is not FP32 of [1, 4]"),
        (request(data=["a", "b", "c", "d"]), 400, "input 'x': data is not FP32 of [1, 4]"),
        (request(name="z"), 400, "unknown input 'z': expected x, kind"),
        (request(name="kind", datatype="INT64", shape=[1], data=[0]), 400, "input 'kind' is given twice"),
        ({"inputs": request()["inputs"][:1]}, 400, "missing input 'kind'"),
        (request(2, shape=[1, 4], data=[1, 2, 3, 4]), 400, "dimension 'batch' is 1 in input 'x' and 2 in 'kind'"),
        (request(65), 400, "expected at most 64 rows, got 65"),
        (request() | {"outputs": [{"name": "z"}]}, 400, "unknown output 'z': expected y, flag"),
        ({"inputs": 3}, 400, "not an inference request"),
        (request(4000), 413, "Request Entity Too Large"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_the_reason(
    served: Server, body: dict[str, object], status: int, words: str
) -> None:
    answer = httpx.post(f"{served.url}{INFER}", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_the_open_window_of_telemetry_counts_calls(serve: Serve) -> None:
    with serve("scale:1@cloud") as server, httpx.Client(base_url=server.url) as client:
        assert "telemetry" in client.get("/openapi.json").text
        outputs(client.post(INFER, json=request(3)))
        window = client.get("/telemetry").json()
        assert (window["model"], window["version"], window["rows"], window["calls"]) == ("scale", "1", 3, 1)
        assert sum(window["latency"]["bins"].values()) == 1
        assert f'digest="{window["bundle"]}"' in client.get("/metrics").text


def test_windows_wait_for_the_agent_and_the_last_one_is_handed_in_at_the_end(serve: Serve, tmp_path: Path) -> None:
    write_settings(tmp_path, Settings(interval=3600), write_durably)
    with serve("scale:1@cloud", "--telemetry", str(tmp_path)) as server:
        for rows in (1, 2):
            outputs(httpx.post(f"{server.url}{INFER}", json=request(rows)))
        server.process.terminate()
        server.process.wait(30)
    found = Spool(tmp_path, 1 << 20, write_durably).oldest()
    assert found is not None
    window = decode(found[1], Window)
    assert (window.model, window.rows, window.calls) == ("scale", 3, 2)


def test_an_agents_state_folder_that_is_not_there_is_refused(shop: Shop) -> None:
    command = [*PACK, "serve", "scale:1@cloud", "--key", str(shop.key), "--port", "0", "--telemetry", "nowhere"]
    ran = subprocess.run(command, cwd=shop.folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "no state folder of pack-agent at 'nowhere'" in ran.stderr


def test_an_unknown_model_or_version_is_not_found(served: Server) -> None:
    for path in ("/v2/models/other", "/v2/models/scale/versions/7", "/v2/models/other/ready"):
        answer = httpx.get(f"{served.url}{path}")
        assert answer.status_code == 404
        assert "this server has scale:1" in answer.json()["error"]


def test_tritons_own_clients_are_understood(served: Server) -> None:
    script = str(Path(__file__).with_name("triton.py"))
    command = locked("python", script, served.url.removeprefix("http://"), served.rpc, group="clients")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    y = [[0.0, 10.0, 20.0, 30.0], [40.0, 50.0, 60.0, 70.0]]
    assert seen["http"] == {"ready": [True, True], "y": y, "flag": [False, True]}
    refused = seen["grpc"].pop("refused")
    assert seen["grpc"] == {"ready": [True, True], "shape": [-1, 4], "y": y, "flag": [False, True]}
    assert "this server has scale:1" in refused[0]
    assert "missing input 'kind'" in refused[1]


def test_requests_that_wait_are_run_together(serve: Serve) -> None:
    with serve("scale:1@cloud", "--workers", "1", "--delay", "100") as server:
        with httpx.Client(base_url=server.url) as client, ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda rows: client.post(INFER, json=request(rows)), [1, 2, 3, 1, 2, 3, 1, 2]))
            figures = client.get("/metrics").text
        for answer, rows in zip(answers, [1, 2, 3, 1, 2, 3, 1, 2], strict=True):
            assert outputs(answer)["y"] == [10.0 * value for value in range(4 * rows)]
    calls = next(line for line in figures.splitlines() if line.startswith("pack_call_rows_count"))
    assert float(calls.split()[-1]) < 8


def test_a_newer_release_takes_over_without_a_failed_request(serve: Serve, shop: Shop) -> None:
    with serve("scale@cloud", "--follow", "0.2") as server, ThreadPoolExecutor(4) as threads:
        stop = False

        def ask() -> list[tuple[int, float]]:
            seen = []
            with httpx.Client(base_url=server.url) as client:
                while not stop:
                    answer = client.post(INFER, json=request())
                    seen.append((answer.status_code, answer.json()["outputs"][0]["data"][1]))
            return seen

        asking = [threads.submit(ask) for _ in range(4)]
        try:
            shop.add(2)
            wait_for(server, "serves scale:2@cloud now")
            time.sleep(0.2)
        finally:
            stop = True
        seen = [entry for future in asking for entry in future.result()]
    assert {status for status, _ in seen} == {200}
    assert {factor for _, factor in seen} == {10.0, 100.0}


def test_a_bundle_that_no_given_key_signed_is_not_served(shop: Shop) -> None:
    other = write_key(generate_key(), shop.folder / "other.key")
    ran = subprocess.run(
        [*PACK, "serve", "scale:1@cloud", "--key", str(other), "--port", "0"],
        cwd=shop.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 5
    assert "no good signature" in ran.stderr
