"""`pack-fleet devices`."""

from __future__ import annotations

from fleet.commands.options import Form, Place, open_store, open_workspace, show_time, warn_unserved
from fleet.console import Output, console


def devices(*, workspace: Place = None, output: Form = Output.TEXT) -> None:
    """List the devices: whether they are there, and what they run."""
    import msgspec

    from fleet.views import view_device, view_placement

    place = open_workspace(workspace)
    with open_store(place) as store:
        unserved = warn_unserved(place, store)
        assigned = store.wishes.assigned()
        placements = store.placements.all()
        views = [
            view_device(
                msgspec.structs.replace(device, online=device.online and not unserved),
                [
                    view_placement(placement, assigned[device.name].models if device.name in assigned else ())
                    for placement in placements
                    if placement.device == device.name
                ],
            )
            for device in store.devices.all()
        ]
    if output is Output.JSON:
        console.print_json(views)
        return
    console.print_table(
        ("device", "state", "seen", "targets", "labels", "models"),
        [
            (
                view.name,
                "unknown" if unserved else "online" if view.online else "offline",
                show_time(view.seen),
                " ".join(view.targets),
                " ".join(f"{name}={value}" for name, value in sorted(view.labels.items())),
                " ".join(f"{model.model}:{model.active.version}" for model in view.models if model.active),
            )
            for view in views
        ],
    )
