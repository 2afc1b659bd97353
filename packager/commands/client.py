"""`pack client`: code that calls a bundle, in the language of an application."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from packager.clients.languages._language import LanguageName
from packager.commands.options import BundleName, Folder
from packager.console import Output, console
from packager.errors import ExitCode


def client(  # noqa: PLR0913 - each is an option of the command
    bundle: BundleName,
    *,
    language: Annotated[LanguageName, typer.Option("--language", "-l", help="Of the client.")],
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    target: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", show_default=False, help="Folder to write. Default: NAME-LANGUAGE."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that pack client did not write.")] = False,
    folder: Folder = Path(),
    form: Annotated[
        Output,
        typer.Option("--form", metavar="text|json|tag", show_default=False, help="Form of the result on stdout."),
    ] = Output.TEXT,
) -> int:
    """Write a typed client of a bundle, with a golden test, after checking the bundle's signature.

    It has the model's names and shapes, the steps before and after it, the labels, and the shipped files.
    """
    from manifests.signing import read_public_key
    from packager.clients.generation import generate
    from packager.clients.writing import write_client
    from packager.config import STORE
    from packager.fingerprints import versions

    versions(("jinja2",), extra="pack")
    made = generate(bundle, folder / STORE, [read_public_key(path) for path in key], language)
    place = target or Path(f"{made.model}-{language.value}")
    written = write_client(made, place, force=force)
    if form is Output.JSON:
        console.print_json(
            {
                "bundle": made.reference,
                "digest": made.digest,
                "language": language.value,
                "folder": str(place),
                "files": list(written),
            }
        )
    elif form is Output.TAG:
        console.print_line(str(place))
    else:
        console.print_line(f"{made.reference} as {language.value} in {place}, {len(written)} files")
        console.say(f"next: {made.next_step}")
    return ExitCode.OK
