from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.assignments import renew_assignments
from fleet.publish import publish
from manifests.signing import public_pem, verify
from wire.messages import ASSIGNMENT_TYPE, Assignment, decode_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.publish import Address
    from fleet.store import Store
    from fleet.store.wishes import Assigned
    from fleet.workspace import Workspace

    MakeBundle = Callable[..., Address]


def renew(workspace: Workspace, store: Store) -> list[Assigned]:
    return renew_assignments(store, "demo", workspace.assigner(), now=1.0)


def test_an_assignment_is_signed_by_an_assigner_whom_devices_know(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    database.devices.enroll("cam", "", targets=("cloud",), labels={}, now=1.0)
    database.wishes.add("digits", None, "all", now=1.0)
    (assigned,) = renew(workspace, database)
    (pem,) = workspace.repository.assigners().assigners
    assert pem == public_pem(workspace.assigner().public_key)
    payload = verify(assigned.envelope, ASSIGNMENT_TYPE, [workspace.assigner().public_key])
    assignment = decode_signed(payload, Assignment)
    assert (assignment.fleet, assignment.device, assignment.sequence) == ("demo", "cam", 1)
    assert assignment.models[0].release in workspace.repository.targets()


def test_only_what_changed_is_signed_anew_with_the_next_number(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    for name in ("cam", "hub", "idle"):
        database.devices.enroll(name, "", targets=("cloud",), labels={}, now=1.0)
    database.wishes.add("digits", None, "cam", now=1.0)
    database.wishes.add("digits", "3", "hub", now=1.0)
    assert {one.device: one.sequence for one in renew(workspace, database)} == {"cam": 1, "hub": 1}
    assert renew(workspace, database) == []
    publish(workspace, database, [make_bundle("4", 4)], now=1.0)
    assert {one.device: one.sequence for one in renew(workspace, database)} == {"cam": 2}
    assert {one.device: one.models[0].version for one in database.wishes.assigned().values()} == {
        "cam": "4",
        "hub": "3",
    }


def test_a_wish_stated_again_is_sent_again_so_that_a_device_tries_again_what_it_refused(
    workspace: Workspace, database: Store, make_bundle: MakeBundle
) -> None:
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    for name in ("cam", "hub"):
        database.devices.enroll(name, "", targets=("cloud",), labels={}, now=1.0)
        database.wishes.add("digits", "3", name, now=1.0)
    first = {one.device: one for one in renew(workspace, database)}
    database.wishes.add("digits", "3", "cam", now=2.0)
    (again,) = renew_assignments(database, "demo", workspace.assigner(), now=3.0)
    assert (again.device, again.sequence, again.models) == ("cam", 2, first["cam"].models)
    assert renew_assignments(database, "demo", workspace.assigner(), now=4.0) == []
