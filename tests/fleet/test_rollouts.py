from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import FleetError
from fleet.rollouts import parse_selector, resolve
from fleet.store.devices import Device
from fleet.store.releases import ReleaseRow
from fleet.store.wishes import Wish

if TYPE_CHECKING:
    from wire.messages import Desired


def device(name: str = "cam", *, targets: tuple[str, ...] = ("cloud",), **labels: str) -> Device:
    return Device(
        name=name,
        public_key="",
        labels=labels,
        targets=targets,
        enrolled=0,
        online=False,
        seen=None,
        boot="",
        agent="",
        inventory=None,
        report_boot="",
        report_sequence=0,
        past_boots=(),
        accepted=0,
    )


def release(version: str, counter: int, target: str = "cloud", model: str = "digits") -> ReleaseRow:
    return ReleaseRow(
        model=model,
        version=version,
        target=target,
        counter=counter,
        bundle=f"sha256:{version}{target}",
        path=f"releases/{model}/{version}/{target}.json",
        size=1,
        published=0,
        source="",
        labels=(),
    )


def wish(number: int, selector: str, version: str | None = None, model: str = "digits") -> Wish:
    return Wish(id=number, model=model, version=version, selector=selector, created=0)


def running(resolved: dict[str, tuple[Desired, ...]], name: str = "cam") -> list[str]:
    return [f"{desired.model}:{desired.version}@{desired.target}" for desired in resolved[name]]


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("all", {"a", "b", "c"}),
        ("a", {"a"}),
        ("site=north", {"a", "b"}),
        ("site=north,camera=wide", {"b"}),
        ("a, site=north", {"a"}),
        ("a,b", set()),
        ("site=west", set()),
    ],
)
def test_a_selector_chooses_what_all_its_terms_hold_for(selector: str, chosen: set[str]) -> None:
    devices = [device("a", site="north"), device("b", site="north", camera="wide"), device("c", site="south")]
    assert {one.name for one in devices if parse_selector(selector).matches(one)} == chosen


@pytest.mark.parametrize("selector", ["", ",", "a,", "=north", "site="])
def test_a_selector_with_an_empty_term_is_refused(selector: str) -> None:
    with pytest.raises(FleetError, match="is no selector"):
        parse_selector(selector)


def test_without_a_version_a_device_follows_the_highest_counter() -> None:
    releases = [release("beta", 7), release("alpha", 9), release("gamma", 8)]
    assert running(resolve([device()], [wish(1, "all")], releases, {})) == ["digits:alpha@cloud"]


def test_a_device_gets_the_bundle_for_the_first_of_its_targets() -> None:
    releases = [release("1", 1, "edge-arm"), release("2", 2, "cloud")]
    devices = [device("cam", targets=("edge-arm", "cloud")), device("hub", targets=("tpu", "cloud"))]
    resolved = resolve(devices, [wish(1, "all")], releases, {})
    assert running(resolved) == ["digits:1@edge-arm"]
    assert running(resolved, "hub") == ["digits:2@cloud"]


def test_of_the_wishes_that_match_the_newest_holds() -> None:
    releases = [release("1", 1), release("2", 2), release("3", 3)]
    wishes = [wish(3, "cam", "1"), wish(1, "all"), wish(2, "site=north", "2")]
    resolved = resolve([device(site="north"), device("hub", site="north")], wishes, releases, {})
    assert running(resolved) == ["digits:1@cloud"]
    assert running(resolved, "hub") == ["digits:2@cloud"]


def test_a_device_can_run_several_models() -> None:
    releases = [release("1", 1), release("5", 5, model="faces")]
    resolved = resolve([device()], [wish(1, "all"), wish(2, "cam", model="faces")], releases, {})
    assert running(resolved) == ["digits:1@cloud", "faces:5@cloud"]


def test_a_wish_that_cannot_be_met_takes_nothing_away() -> None:
    before = resolve([device()], [wish(1, "all")], [release("1", 1)], {})
    after = resolve([device()], [wish(2, "all", "2")], [release("1", 1), release("2", 2, "edge-arm")], before)
    assert after == before


def test_a_device_that_no_wish_matches_runs_nothing() -> None:
    before = resolve([device()], [wish(1, "all")], [release("1", 1)], {})
    assert resolve([device()], [], [release("1", 1)], before) == {"cam": ()}


@given(st.permutations([1, 2, 3, 4]), st.permutations(range(4)))
def test_the_order_in_which_things_are_told_does_not_matter(counters: list[int], wishes: list[int]) -> None:
    releases = [release(str(counter), counter) for counter in counters]
    told = [wish(number, "all", str(number) if number else None) for number in wishes]
    assert running(resolve([device()], told, releases, {})) == ["digits:3@cloud"]
