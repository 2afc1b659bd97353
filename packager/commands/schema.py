"""`pack schema`: JSON Schemas, for editors and for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from packager.console import console
from packager.errors import ExitCode


def schema(
    *,
    manifest: Annotated[bool, typer.Option("--manifest", help="The schema of a bundle's manifest instead.")] = False,
) -> int:
    """Print the JSON Schema of pack.toml.

    The options of every target that is installed here are in it.
    """
    if manifest:
        from manifests.manifest import manifest_schema

        console.print_json(manifest_schema())
    else:
        from packager.schema import project_schema

        console.print_json(project_schema())
    return ExitCode.OK
