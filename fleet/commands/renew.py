"""`pack-fleet renew`."""

from __future__ import annotations

import time

from fleet.commands.options import Place, open_workspace
from fleet.console import console


def renew(*, workspace: Place = None) -> None:
    """Sign the root and targets metadata anew with the offline keys, before they expire."""
    from fleet.trust import utc

    place = open_workspace(workspace)
    now = time.time()
    place.repository.renew_offline(place.signers(), now=utc(now))
    place.audit.append("renew", {}, now=now)
    for role, expires in place.repository.expiries().items():
        console.print_line(f"{role}: {expires:%Y-%m-%d %H:%M} UTC")
