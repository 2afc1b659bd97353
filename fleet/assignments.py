"""Assignments: what each device should run, signed and numbered, whenever it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.rollouts import resolve
from fleet.store.wishes import Assigned
from manifests.signing import sign
from wire.messages import ASSIGNMENT_TYPE, Assignment, encode_signed

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from fleet.store import Store


def renew_assignments(store: Store, fleet: str, assigner: CryptoSigner, *, now: float) -> list[Assigned]:
    """Sign and store an assignment for each device whose models changed; those assignments.

    A sequence number is stored before anything is sent, so none is ever used twice, whatever crashes.
    """
    before = store.wishes.assigned()
    devices = store.devices.all()
    previous = {name: assigned.models for name, assigned in before.items()}
    resolved = resolve(devices, store.wishes.all(), store.releases.all(), previous)
    changed = []
    for device, models in resolved.items():
        if models == previous.get(device, ()):
            continue
        sequence = before[device].sequence + 1 if device in before else 1
        assignment = Assignment(fleet=fleet, device=device, sequence=sequence, models=models)
        envelope = sign(encode_signed(assignment), ASSIGNMENT_TYPE, [assigner])
        assigned = Assigned(device=device, sequence=sequence, models=models, envelope=envelope, created=now)
        store.wishes.note_assigned(assigned)
        changed.append(assigned)
    return changed
