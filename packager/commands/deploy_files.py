"""`pack deploy-files`: files by which others' platforms serve a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packager.commands.options import BundleName, Folder
from packager.console import Output, console
from packager.errors import ExitCode


def deploy_files(  # noqa: PLR0913 - each is an option of the command
    bundle: BundleName,
    *,
    platform: Annotated[str, typer.Option("--for", metavar="PLATFORM", help="azureml, kserve, kubernetes or triton.")],
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder that is not there yet.")],
    image: Annotated[
        str,
        typer.Option(metavar="NAME@DIGEST", show_default=False, help="The image of pack container; not for triton."),
    ] = "",
    instance: Annotated[str, typer.Option(metavar="TYPE", help="Kind of machine, for azureml.")] = "Standard_DS3_v2",
    folder: Folder = Path(),
    form: Annotated[
        Output,
        typer.Option("--form", metavar="text|json|tag", show_default=False, help="Form of the result on stdout."),
    ] = Output.TEXT,
) -> int:
    """Write the files by which a platform serves a bundle, after checking its signature."""
    from manifests.signing import read_public_key
    from packager.config import STORE
    from packager.deployment.writing import PLATFORMS, Order, write_deployment
    from packager.errors import ConfigError
    from packager.fingerprints import versions

    if platform not in PLATFORMS:
        raise ConfigError("usage", f"--for: expected one of {', '.join(PLATFORMS)}, got '{platform}'")
    versions(("prometheus-client",), extra="serve")
    written = write_deployment(
        Order(
            bundle=bundle,
            store=folder / STORE,
            keys=[read_public_key(path) for path in key],
            platform=platform,
            image=image,
            instance=instance,
            output=output,
        )
    )
    if form is Output.JSON:
        console.print_json({"output": str(output), "files": written})
    elif form is Output.TAG:
        console.print_line(str(output))
    else:
        for name in written:
            console.print_line(str(output / name))
    return ExitCode.OK
