"""`pack push`: a bundle into an OCI registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import BundleName, Folder, Form
from packager.console import Output, console, headline
from packager.errors import ExitCode
from terminal.tables import indented, pairs

if TYPE_CHECKING:
    from packager.oci.transfer import Pushed


def push(
    bundle: BundleName,
    registry: Annotated[
        str, typer.Argument(metavar="REGISTRY", show_default=False, help="Where to: oci://HOST/NAME[:TAG].")
    ],
    *,
    folder: Folder = Path(),
    output: Form = Output.TEXT,
) -> int:
    """Copy a bundle and its attestations into a registry.

    Digests stay as they are. Without a tag it gets VERSION-TARGET. Credentials come from Docker's configuration.
    """
    import msgspec

    from packager.config import STORE
    from packager.errors import ConfigError
    from packager.fingerprints import versions
    from packager.oci.reference import parse_reference
    from packager.store import find_bundle

    versions(("requests",), extra="oci")
    place = parse_reference(registry, named=False)
    if place.digest:
        raise ConfigError("oci.reference", "a bundle is pushed to a tag: its digest is its own")
    layout, found = find_bundle(bundle, folder / STORE)
    if not place.tag:
        section = found.manifest.bundle
        place = msgspec.structs.replace(place, tag=f"{section.version}-{section.target}")
    from packager.oci.registry import Repository
    from packager.oci.transfer import push_bundle

    with Repository(place) as repository:
        pushed = push_bundle(repository, place, layout, found.digest)
    _print(pushed, str(place), output)
    return ExitCode.OK


def _print(pushed: Pushed, tagged: str, output: Output) -> None:
    from packager.quantities import quantity_text

    if output is Output.JSON:
        console.print_json(pushed)
    elif output is Output.TAG:
        console.print_line(pushed.reference)
    else:
        rows = [
            ("to", tagged),
            ("sent", quantity_text(pushed.sent_bytes, "bytes")),
            ("attestations", str(pushed.attestations)),
        ]
        console.print_result(*headline(pushed.bundle, pushed.digest), indented(pairs(rows)))
