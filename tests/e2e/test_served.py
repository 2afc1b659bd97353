"""What a server answers is measured as what a device sees: a shift of its requests is drift, and asks for training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.site import draw, get
from tests.e2e.test_loop import committed, start_fleet, write_project

if TYPE_CHECKING:
    from tests.e2e.site import Site


@pytest.mark.e2e
@pytest.mark.slow
def test_requests_that_shift_are_drift_and_ask_for_training(site: Site) -> None:
    write_project(site.folder, "cloud")
    site.run("pack", "keys", "generate", "pack.key")
    site.run("pack")
    address = start_fleet(site, "mosquitto")
    site.run("pack-fleet", "publish", "gauss:1@cloud")
    enroll = ("enroll", "server-1", "--target", "cloud", "--health", "self-test", "--telemetry-interval", "0.5")
    site.run("pack-fleet", *enroll, "--out", "srv")
    site.run("pack-fleet", "assign", "gauss", "--to", "all")
    site.start("agent", "pack-agent", "run", "--config", "srv/agent.toml")
    site.wait("version 1 is committed", lambda: committed(address, "1"))
    site.start("server", "pack", "serve", "gauss:1@cloud", "--key", "pack.pub", "--port", 0, "--telemetry", "srv/state")
    log = site.folder / "server.log"
    url = site.wait("the server listens", lambda: re.search(r"http://\S+", log.read_text()))[0]

    with httpx.Client(base_url=url) as client:

        def use(shift: float) -> None:
            x = draw(50, shift=shift)
            tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
            assert client.post("/v2/models/gauss/infer", json={"inputs": [tensor]}).status_code == 200

        def verdict(shift: float, kind: str) -> float | None:
            use(shift)
            scores = [entry["score"] for entry in get(address, "drift")["items"] if entry["verdict"] == kind]
            return scores[0] if scores else None

        calm = site.wait("a verdict on what is as in training", lambda: verdict(0.0, "stable"))
        assert not get(address, "requests")["items"]
        moved = site.wait("drift is found", lambda: verdict(3.0, "drifted"))
        assert moved > 10 * max(calm, 0.01)

        def open_window() -> dict[str, Any] | None:
            use(0.0)
            window: dict[str, Any] = client.get("/telemetry").json()
            return window if window.get("rows") else None

        window = site.wait("a window is open", open_window)
        assert (window["model"], window["version"]) == ("gauss", "1")
        assert [sum(feature["counts"]) for feature in window["features"]] == 4 * [window["rows"]]
    (request,) = get(address, "requests")["items"]
    assert (request["model"], request["version"]) == ("gauss", "1")
