"""`pack keys`: the key that signs bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packager.commands.options import Form
from packager.console import Output, console
from packager.errors import ConfigError, ExitCode, SignatureError
from terminal.tables import pairs

if TYPE_CHECKING:
    from securesystemslib.signer import Key


def make_app() -> typer.Typer:
    """The commands below ``pack keys``."""
    app = typer.Typer(
        help="Make or show a signing key.",
        rich_markup_mode=None,
        add_completion=False,
        suggest_commands=False,
        subcommand_metavar="COMMAND",
    )
    app.callback()(_keys)
    app.command("generate")(generate)
    app.command("show")(show)
    return app


def _keys() -> None:
    """Make or show a signing key."""


def generate(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", show_default=False, help="Where the private key goes.")
    ] = None,
    *,
    passphrase_env: Annotated[
        str | None,
        typer.Option("--passphrase-env", metavar="VAR", help="Encrypt it with the passphrase in this variable."),
    ] = None,
    output: Form = Output.TEXT,
) -> int:
    """Make a signing key (Ed25519), private to you, and its public half beside it.

    Default PATH: where pack looks for the key.
    """
    from manifests.signing import generate_key, write_key
    from packager.config import default_key

    place = (path or default_key()).absolute()
    passphrase = _passphrase(passphrase_env)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = generate_key()
    try:
        public = write_key(signer, place, passphrase=passphrase)
    except FileExistsError as error:
        raise ConfigError(
            "keys.exists",
            f"'{error.args[0]}' is there already, and is not overwritten",
            hint="pack keys show tells which key it is; give another PATH for a second one",
        ) from error
    _print(signer.public_key, public, output, private=place)
    if output is Output.TEXT and passphrase is not None:
        console.say("to build with it, put the passphrase into PACK_SIGNING_PASSPHRASE")
    return ExitCode.OK


def show(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", show_default=False, help="A public or a private key.")
    ] = None,
    *,
    output: Form = Output.TEXT,
) -> int:
    """Show a key's id, and its public half to hand to those who verify.

    Default PATH: where pack looks for the key.
    """
    from manifests.errors import UncheckableError
    from manifests.signing import read_public_key
    from packager.config import default_key

    public = (path or default_key()).absolute().with_suffix(".pub")
    try:
        key = read_public_key(public)
    except UncheckableError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    _print(key, public, output)
    return ExitCode.OK


def _passphrase(variable: str | None) -> str | None:
    if variable is None:
        return None
    from packager.config import named_variable

    value = named_variable(variable)
    if not value:
        raise ConfigError(
            "keys.passphrase",
            f"the variable {variable} holds no passphrase",
            hint=f"{variable}=... pack keys generate --passphrase-env {variable}",
        )
    return value


def _print(key: Key, public: Path, output: Output, *, private: Path | None = None) -> None:
    from manifests.signing import public_pem

    if output is Output.JSON:
        places = {"public": str(public)} | ({"private": str(private)} if private else {})
        console.print_json({"key_id": key.keyid, "algorithm": key.keytype, **places, "pem": public_pem(key)})
    elif output is Output.TAG:
        console.print_line(key.keyid)
    else:
        console.print_result(
            pairs(
                [
                    ("key id", key.keyid),
                    ("private", f"{private} (mode 0600: keep it to yourself)" if private else ""),
                    ("public", f"{public} (for those who verify)"),
                ]
            )
        )
        if private is None:
            console.print_line(public_pem(key).rstrip("\n"))
