"""The HTTP API over a real store, and the web page in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import uvicorn
from litestar.testing import TestClient
from sqlalchemy import create_engine

from fleet.api import PAGE_LIMIT, PAGES, create_app
from fleet.config import ApiTable, FleetConfig
from fleet.drift import Details, DeviceScore, Measure, Verdict
from fleet.store import Store
from fleet.store.releases import ReleaseRow
from fleet.store.retraining import RequestRow, VerdictRow
from fleet.store.wishes import Assigned
from wire.messages import Desired, Fault, Inventory, ModelState, Report, Running, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from litestar import Litestar

    from fleet.drift import VerdictKind

CHROMIUM = shutil.which("chromium")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
BUNDLE = "sha256:" + "ab" * 32


def fill(store: Store, *, label: str = "harbour", fault: str = "golden sample 3 differs") -> None:
    """Two devices: `cam-1` runs digits:1 and has the fault, `cam-2` never reported."""
    store.releases.add(
        ReleaseRow(
            model="digits",
            version="1",
            target="cloud",
            counter=1,
            bundle=BUNDLE,
            path="releases/digits/1/cloud.json",
            size=1000,
            published=50.0,
            source=BUNDLE,
            labels=("0", "1"),
        ),
        None,
    )
    for device in ("cam-1", "cam-2"):
        store.devices.enroll(device, f"key of {device}", targets=("cloud",), labels={"site": label}, now=1.0)
    store.devices.note_status("cam-1", Status(state="online", boot="b", agent="0.1.0"), now=90.0)
    running = Running(version="1", counter=1, target="cloud", bundle=BUNDLE)
    state = ModelState(
        model="digits",
        state="committed",
        active=running,
        fault=Fault(code="agent.self-test", message=fault, hint="look at the runtime"),
    )
    inventory = Inventory(
        agent="0.1.0", architecture="x86_64", python="3.11", targets=("cloud",), runtimes=(), disk_free_bytes=1
    )
    store.placements.note_report(
        Report(
            fleet="demo",
            device="cam-1",
            boot="b",
            sequence=1,
            time=90.0,
            assignment=1,
            inventory=inventory,
            models=(state,),
        ),
        now=91.0,
    )
    wanted = Desired(model="digits", version="2", counter=2, target="cloud", bundle=BUNDLE, release="r")
    store.wishes.note_assigned(Assigned(device="cam-1", sequence=1, models=(wanted,), envelope=b"", created=1.0))
    note_verdict(store, "stable", 0.02, decided=100.0)
    note_verdict(store, "drifted", 0.75, decided=200.0)
    store.retraining.add_request(
        RequestRow(
            cause="digits:1:200000", model="digits", version="1", bundle=BUNDLE, score=0.75, body="{}", created=200.0
        ),
        ["command"],
    )


def note_verdict(store: Store, kind: VerdictKind, score: float, *, decided: float) -> None:
    """A verdict on the whole fleet."""
    verdict = Verdict(
        kind=kind,
        score=score,
        threshold=0.25,
        rows=400,
        features=(Measure(name="pixel3", psi=score * 2, p_value=0.0),),
        predictions=Measure(name="digit", psi=score / 2, p_value=0.1),
        moved=1,
        measured=1,
    )
    details = Details(
        start=decided - 10,
        end=decided,
        windows=2,
        ignored=0,
        verdict=verdict,
        devices=(DeviceScore(device="cam-1", rows=400, kind=kind, score=score),),
    )
    store.retraining.add_verdict(
        VerdictRow(
            model="digits",
            version="1",
            bundle=BUNDLE,
            verdict=kind,
            score=score,
            rows=400,
            details=msgspec.json.encode(details).decode(),
            decided=decided,
        )
    )


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient[Litestar]]:
    fill(store)
    with connect(store) as opened:
        yield opened


def connect(store: Store, config: FleetConfig | None = None) -> TestClient[Litestar]:
    return TestClient(create_app(store, config or FleetConfig(fleet="demo")), base_url="http://127.0.0.1:8420")


def test_devices_are_listed_with_what_runs_on_them(client: TestClient[Litestar]) -> None:
    page = client.get("/api/v1/devices").json()
    first, second = page["items"]
    assert (first["name"], first["online"], first["labels"]) == ("cam-1", True, {"site": "harbour"})
    (model,) = first["models"]
    assert (model["active"]["version"], model["assigned"], model["state"]) == ("1", "2", "committed")
    assert model["fault"]["code"] == "agent.self-test"
    assert (second["name"], second["online"], second["seen"], second["models"]) == ("cam-2", False, None, [])
    assert page["next"] is None


def test_keys_of_devices_are_not_shown(client: TestClient[Litestar]) -> None:
    assert "key of" not in client.get("/api/v1/devices").text + client.get("/api/v1/devices/cam-1").text


def test_pages_follow_each_other_to_the_last(client: TestClient[Litestar]) -> None:
    first = client.get("/api/v1/devices", params={"limit": 1}).json()
    second = client.get("/api/v1/devices", params={"limit": 1, "offset": first["next"]}).json()
    assert [item["name"] for item in first["items"] + second["items"]] == ["cam-1", "cam-2"]
    assert second["next"] is None


@pytest.mark.parametrize("path", ["devices", "models", "models/digits/where", "releases", "drift", "requests"])
@pytest.mark.parametrize("query", [f"limit={PAGE_LIMIT + 1}", "limit=0", "offset=-1", "limit=x"])
def test_page_outside_the_bounds_is_refused_as_a_problem(client: TestClient[Litestar], path: str, query: str) -> None:
    answer = client.get(f"/api/v1/{path}?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["extra"][0]["key"] == query.partition("=")[0]


def test_unknown_device_is_a_problem_that_names_it(client: TestClient[Litestar]) -> None:
    answer = client.get("/api/v1/devices/nobody")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {"status": 404, "title": "Not Found", "detail": "no device 'nobody'"}


def test_models_count_the_devices_of_each_version(client: TestClient[Litestar]) -> None:
    (model,) = client.get("/api/v1/models").json()["items"]
    assert (model["name"], model["newest"], model["waiting"]) == ("digits", "1", 0)
    assert model["versions"] == [{"version": "1", "target": "cloud", "devices": 1}]


def test_where_lists_the_devices_of_one_model(client: TestClient[Litestar]) -> None:
    assert [place["device"] for place in client.get("/api/v1/models/digits/where").json()["items"]] == ["cam-1"]
    assert client.get("/api/v1/models/other/where").json() == {"items": [], "next": None}


@pytest.mark.parametrize("path", ["releases", "drift", "requests"])
def test_lists_can_be_narrowed_to_one_model(client: TestClient[Litestar], path: str) -> None:
    assert client.get(f"/api/v1/{path}?model=digits").json() == client.get(f"/api/v1/{path}").json()
    assert client.get(f"/api/v1/{path}?model=other").json()["items"] == []


def test_verdicts_come_the_newest_first_with_what_moved(client: TestClient[Litestar]) -> None:
    newest, oldest = client.get("/api/v1/drift").json()["items"]
    assert (newest["verdict"], newest["score"], newest["threshold"], newest["target"]) == (
        "drifted",
        0.75,
        0.25,
        "cloud",
    )
    assert newest["features"] == [{"name": "pixel3", "psi": 1.5, "p_value": 0.0}]
    assert newest["devices"][0]["device"] == "cam-1"
    assert oldest["verdict"] == "stable"


def test_requests_say_how_their_deliveries_went(client: TestClient[Litestar]) -> None:
    (request,) = client.get("/api/v1/requests").json()["items"]
    assert (request["id"], request["score"]) == ("digits:1:200000", 0.75)
    assert [(one["sink"], one["state"]) for one in request["deliveries"]] == [("command", "pending")]


def test_health_says_that_the_database_answers(client: TestClient[Litestar]) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "fleet": "demo"}


def test_database_that_fails_is_an_outage_that_says_nothing_of_its_insides(store: Store) -> None:
    fill(store)
    store._database._readers = create_engine("sqlite:////nowhere/at/all.db")
    answer = connect(store).get("/healthz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "nowhere" not in answer.text


def test_metrics_are_in_the_text_format_with_escaped_labels(store: Store) -> None:
    fill(store)
    note_verdict(store, "stable", 0.1, decided=300.0)
    answer = connect(store).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'packtrain_devices{online="true"} 1' in lines
    assert 'packtrain_placements{model="digits",state="committed",version="1",target="cloud"} 1' in lines
    assert 'packtrain_verdicts{model="digits",verdict="stable"} 2' in lines
    assert f'packtrain_drift_score{{model="digits",version="1",bundle="{BUNDLE}"}} 0.1' in lines
    sample = re.compile(r'[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)*\})? [0-9.e+-]+')
    assert all(line.startswith("#") or sample.fullmatch(line) for line in lines)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed_through_the_api(client: TestClient[Litestar], method: str) -> None:
    for path in client.get("/schema").json()["paths"]:
        assert client.request(method, path.replace("{name}", "cam-1").replace("{model}", "digits")).status_code == 405


def test_schema_describes_every_answer(client: TestClient[Litestar]) -> None:
    paths = client.get("/schema").json()["paths"]
    assert sorted(paths) == [
        "/api/v1/devices",
        "/api/v1/devices/{name}",
        "/api/v1/drift",
        "/api/v1/models",
        "/api/v1/models/{model}/where",
        "/api/v1/releases",
        "/api/v1/requests",
        "/healthz",
        "/metrics",
    ]
    assert all("schema" in next(iter(path["get"]["responses"]["200"]["content"].values())) for path in paths.values())


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", ""])
def test_page_elsewhere_can_not_read_the_fleet_by_a_name_of_its_own(client: TestClient[Litestar], host: str) -> None:
    answer = client.get("/api/v1/devices", headers={"host": host})
    assert answer.status_code == 421
    assert "cam-1" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8420", "127.0.0.1:1", "[::1]:8420", "[::1]"])
def test_names_of_this_machine_are_answered(client: TestClient[Litestar], host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_server_that_listens_elsewhere_answers_to_any_name(store: Store) -> None:
    client = connect(store, FleetConfig(fleet="demo", api=ApiTable(host="0.0.0.0")))  # noqa: S104 - what is tested
    assert client.get("/healthz", headers={"host": "fleet.example"}).status_code == 200


def test_page_and_its_parts_are_served_with_a_policy_against_foreign_content(client: TestClient[Litestar]) -> None:
    for path in ["/", *(f"/assets/{part.name}" for part in PAGES.iterdir()), "/api/v1/nothing"]:
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'"), path
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert "javascript" in client.get("/assets/page.js").headers["content-type"]


def test_page_loads_nothing_from_elsewhere_and_parses_no_html() -> None:
    for part in PAGES.iterdir():
        text = part.read_text()
        assert set(re.findall(r"https?://[^\"' )]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), part.name


def test_a_caller_s_mistake_fills_no_log(client: TestClient[Litestar], capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/nothing", "/api/v1/nothing", "/api/v1/devices?limit=0"):
        assert 400 <= client.get(path).status_code < 500
    assert client.post("/api/v1/devices").status_code == 405
    assert "".join(capfd.readouterr()) == ""


def test_files_beside_the_page_are_not_served(client: TestClient[Litestar]) -> None:
    for path in ("/assets/../api.py", "/assets/%2e%2e/api.py", "/assets/..%2fapi.py"):
        assert client.get(path).status_code == 404


def see(store: Store, folder: Path) -> str:
    """The page as Chromium has it after two seconds of its own time, as HTML."""
    server = uvicorn.Server(uvicorn.Config(create_app(store, FleetConfig(fleet="demo")), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        assert CHROMIUM
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
        flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}"]
        page = subprocess.run(
            [CHROMIUM, *flags, "--virtual-time-budget=2000", "--dump-dom", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        server.should_exit = True
        thread.join()
    return page.stdout


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_text_from_devices_is_text_in_the_browser(store: Store, tmp_path: Path) -> None:
    fill(store, label=HOSTILE, fault=HOSTILE)
    dom = see(store, tmp_path)
    assert "<title>demo · packtrain</title>" in dom
    assert dom.count("&lt;img src=x onerror=") == 3
    assert '<img src="x"' not in dom
    assert dom.count("<script") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_browser_shows_devices_drift_and_requests(store: Store, tmp_path: Path) -> None:
    fill(store)
    dom = see(store, tmp_path)
    text = re.sub(r"<[^>]+>", "", dom)
    for wanted in ("cam-1", "site=harbour", "1@cloud drifted", "drift from 0.25", "assigned 2", "agent.self-test"):
        assert wanted in text, wanted
    assert dom.count('class="point"') == 2
    assert "digits:1" in dom.split('id="requests"')[1]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_calls_no_request_delivered_that_no_sink_took(store: Store, tmp_path: Path) -> None:
    store.retraining.add_request(
        RequestRow(cause="digits:1:1", model="digits", version="1", bundle=BUNDLE, score=0.75, body="{}", created=1.0),
        [],
    )
    dom = see(store, tmp_path)
    assert "1 without a sink" in dom
    assert "all delivered" not in dom


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_of_an_empty_fleet_says_what_to_do_next(store: Store, tmp_path: Path) -> None:
    dom = see(store, tmp_path)
    for wanted in ("pack-fleet enroll", "pack-fleet publish", "[drift] window_rows", "[[sinks]]"):
        assert wanted in dom, wanted
