"""`pack pull`: a bundle out of an OCI registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import Folder, Form
from packager.console import Output, console, headline
from packager.errors import ExitCode
from terminal.tables import indented, pairs

if TYPE_CHECKING:
    from packager.oci.transfer import Pulled


def pull(
    registry: Annotated[
        str,
        typer.Argument(metavar="REGISTRY", show_default=False, help="oci://HOST/NAME:TAG or oci://HOST/NAME@DIGEST."),
    ],
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="STORE", show_default=False, help="Store. Default: the project's.")
    ] = None,
    size_limit: Annotated[str, typer.Option("--size-limit", metavar="SIZE", help="The most bytes to fetch.")] = "10 GB",
    folder: Folder = Path(),
    output: Form = Output.TEXT,
) -> int:
    """Copy a bundle and its attestations out of a registry.

    What was interrupted goes on where it stopped. Nothing is verified but digests: see pack verify.
    """
    from packager.config import STORE, cache_folder
    from packager.errors import ConfigError
    from packager.fingerprints import versions
    from packager.oci.reference import parse_reference
    from packager.quantities import parse_limit
    from packager.store import create_store

    versions(("requests",), extra="oci")
    place = parse_reference(registry)
    try:
        limit = parse_limit(size_limit, "bytes")
    except ValueError as error:
        raise ConfigError("usage", f"--size-limit: {error}") from error
    from packager.cache import Cache
    from packager.oci.registry import Repository
    from packager.oci.transfer import pull_bundle

    layout = create_store(to or folder / STORE)
    with Repository(place) as repository:
        pulled = pull_bundle(repository, place, layout, Cache(cache_folder()).downloads, limit=int(limit.value))
    _print(pulled, str(layout.folder), output)
    return ExitCode.OK


def _print(pulled: Pulled, store: str, output: Output) -> None:
    from packager.quantities import quantity_text

    if pulled.skipped:
        console.warn(f"{pulled.skipped} things that refer to the bundle are no attestations, and were left out")
    if output is Output.JSON:
        console.print_json(pulled)
    elif output is Output.TAG:
        console.print_line(pulled.bundle)
    else:
        rows = [
            ("from", pulled.reference),
            ("to", store),
            ("received", quantity_text(pulled.received_bytes, "bytes")),
            ("attestations", str(pulled.attestations)),
        ]
        console.print_result(*headline(pulled.bundle, pulled.digest), indented(pairs(rows)))
