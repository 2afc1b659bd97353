"""`pack verify`: whether a bundle is what a trusted key released."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import BundleName, Folder, Form
from packager.console import Output, console, headline
from packager.errors import ExitCode, SignatureError
from terminal.tables import indented, pairs

if TYPE_CHECKING:
    from packager.verification import Verdict


def verify(
    bundle: BundleName,
    *,
    key: Annotated[list[Path], typer.Option("--key", metavar="KEY.pub", help="A public key to trust; repeatable.")],
    folder: Folder = Path(),
    output: Form = Output.TEXT,
) -> int:
    """Check a bundle's signature and files.

    First the signature, then the manifest, then the digest of every file. Exits 5 when anything is wrong.
    """
    from manifests.errors import ManifestError
    from manifests.signing import read_public_key
    from packager.config import STORE
    from packager.store import find_layout
    from packager.verification import check_bundle

    layout, name = find_layout(bundle, folder / STORE)
    try:
        verdict = check_bundle(layout, name, [read_public_key(path) for path in key])
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    _print(verdict, output)
    return ExitCode.OK


def _print(verdict: Verdict, output: Output) -> None:
    if output is Output.JSON:
        console.print_json(verdict)
    elif output is Output.TAG:
        console.print_line(verdict.reference)
    else:
        console.print_result(
            *headline(verdict.reference, verdict.digest),
            indented(
                pairs(
                    [
                        ("signature", "good, by key " + ", ".join(key[:16] for key in verdict.keys)),
                        ("manifest", "good"),
                        ("files", f"{verdict.files}, every digest matches"),
                        ("golden", f"{verdict.golden_samples} samples"),
                    ]
                )
            ),
        )
