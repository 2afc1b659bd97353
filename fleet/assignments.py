"""Assignments: what each device should run, signed and numbered, whenever it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.rollouts import last_asked, resolve
from fleet.store.wishes import Assigned
from manifests.signing import sign
from wire.messages import ASSIGNMENT_TYPE, Assignment, encode_signed

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from fleet.store import Store


def renew_assignments(store: Store, fleet: str, assigner: CryptoSigner, *, now: float) -> list[Assigned]:
    """Sign and store an assignment for each device whose models changed, or for which a wish was stated again.

    A device does not try a bundle that it refused again under the same sequence number, so an operator who mended the
    cause says the same wish once more. The new assignments are returned. A sequence number is stored before anything is
    sent, so none is ever used twice, whatever crashes.
    """
    before = store.wishes.assigned()
    devices = {device.name: device for device in store.devices.all()}
    wishes = store.wishes.all()
    previous = {name: assigned.models for name, assigned in before.items()}
    resolved = resolve(devices.values(), wishes, store.releases.all(), previous)
    changed = []
    for device, models in resolved.items():
        asked_again = device in before and last_asked(devices[device], wishes) > before[device].created
        if models == previous.get(device, ()) and not (models and asked_again):
            continue
        sequence = before[device].sequence + 1 if device in before else 1
        assignment = Assignment(fleet=fleet, device=device, sequence=sequence, models=models)
        envelope = sign(encode_signed(assignment), ASSIGNMENT_TYPE, [assigner])
        assigned = Assigned(device=device, sequence=sequence, models=models, envelope=envelope, created=now)
        store.wishes.note_assigned(assigned)
        changed.append(assigned)
    return changed
