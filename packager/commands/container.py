"""`pack container`: a bundle's server as a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import BundleName, Folder
from packager.console import Output, console
from packager.errors import ExitCode

if TYPE_CHECKING:
    from packager.containers.building import Built


def container(
    bundle: BundleName,
    *,
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder that is not there yet.")],
    base: Annotated[
        str,
        typer.Option(
            metavar="IMAGE",
            show_default=False,
            help="An OCI image layout (folder or tar), or oci://HOST/NAME:TAG[@DIGEST]. Default: Python's own image.",
        ),
    ] = "",
    folder: Folder = Path(),
    form: Annotated[
        Output,
        typer.Option("--form", metavar="text|json|tag", show_default=False, help="Form of the result on stdout."),
    ] = Output.TEXT,
) -> int:
    """Write what a container of `pack serve` needs: archives, a Dockerfile, an SBOM.

    With a base as an image layout, the image too, in an image layout: no daemon takes part.
    """
    from manifests.signing import read_public_key
    from packager.config import STORE
    from packager.containers.building import Order, build_container

    order = Order(
        bundle=bundle,
        store=folder / STORE,
        keys=[read_public_key(path) for path in key],
        key_files=key,
        output=output,
        base=base,
    )
    _print(build_container(order), output, form)
    return ExitCode.OK


def _print(built: Built, output: Path, form: Output) -> None:
    from terminal.tables import indented, pairs

    if form is Output.JSON:
        console.print_json(built._asdict())
    elif form is Output.TAG:
        console.print_line(built.image or str(output))
    else:
        rows = [
            ("base", built.base),
            ("distributions", str(built.distributions)),
            *built.archives.items(),
            ("image", built.image or "none: give --base as an image layout, or build with the Dockerfile"),
        ]
        console.print_result(f"{built.reference} in {output}", indented(pairs(rows)))
