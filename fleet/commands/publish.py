"""`pack-fleet publish`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.commands.options import Form, Place, open_store, open_workspace
from fleet.console import Output, console
from fleet.errors import FleetError

if TYPE_CHECKING:
    from fleet.publish import Address

STORE = Path(".pack", "store")
"""Where `pack` keeps a project's bundles."""
_PREFIX = "oci:"


def publish(
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE...", help="References such as digits:3@edge-arm, digests, or oci:PATH:REFERENCE."
        ),
    ],
    *,
    store: Annotated[
        Path | None,
        typer.Option(metavar="PATH", show_default=False, help="OCI image layout. Default: the project's .pack/store."),
    ] = None,
    workspace: Place = None,
    output: Form = Output.TEXT,
) -> None:
    """Publish signed bundles, all of them or none: devices that follow their models get them at once."""
    from fleet.publish import publish as publish_bundles

    place = open_workspace(workspace)
    addresses = [_locate(bundle, store) for bundle in bundles]
    with open_store(place) as database:
        published = publish_bundles(place, database, addresses, now=time.time())
    for one in published:
        if not one.new:
            console.say(f"{one.reference} was published before")
    if output is Output.JSON:
        console.print_json(published)
        return
    for one in published:
        console.print_line(f"{one.reference} {one.release.bundle}")


def _locate(bundle: str, store: Path | None) -> Address:
    """Where the bundle stands that ``REFERENCE``, ``oci:PATH:REFERENCE`` or ``oci:PATH`` means."""
    from fleet.publish import Address
    from manifests.layout import Layout

    if not bundle.startswith(_PREFIX):
        return Address(Layout.open(store or _project_store()), bundle)
    place, _, reference = bundle.removeprefix(_PREFIX).partition(":")
    layout = Layout.open(Path(place))
    references = layout.references()
    if not reference and len(references) != 1:
        raise FleetError(
            "publish.reference",
            f"'{place}' holds {len(references)} bundles: expected one, or a reference",
            hint=f"it holds: {', '.join(references)}",
        )
    return Address(layout, reference or references[0])


def _project_store() -> Path:
    for folder in (Path(), *Path.cwd().parents):
        if (folder / STORE / "oci-layout").is_file():
            return folder / STORE
    raise FleetError(
        "publish.store",
        f"no bundles here: expected '{STORE}' in this folder or above it",
        hint="pack builds bundles; --store PATH names them elsewhere",
    )
