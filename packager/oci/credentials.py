"""Credentials of a registry: from Docker's or Podman's configuration, their helpers, ``.netrc``, or the keyring.

https://docs.docker.com/reference/cli/docker/login/, "Credential stores" and "Credential helpers";
containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import netrc
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import msgspec

from packager.config import docker_configuration, netrc_file
from packager.errors import NetworkError
from packager.keyrings import ask_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HELPER_SECONDS = 30
_TOKEN_USER = "<token>"  # noqa: S105 - the name that helpers give instead of a user's: "docker-credential-helpers", README
_DOCKER_HUB = {"docker.io": "https://index.docker.io/v1/"}
"""What Docker's configuration calls it."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are for a registry."""

    user: str = ""
    password: str = ""
    identity_token: str = ""
    """An OAuth 2 refresh token, in place of user and password."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return tuple(text for text in (self.password, self.identity_token, basic(self)) if text)


class _Auth(msgspec.Struct, frozen=True, kw_only=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = msgspec.field(default="", name="identitytoken")


class _Configuration(msgspec.Struct, frozen=True, kw_only=True):
    auths: dict[str, _Auth] = {}
    store: str = msgspec.field(default="", name="credsStore")
    helpers: dict[str, str] = msgspec.field(default={}, name="credHelpers")


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    user: str = msgspec.field(default="", name="Username")
    secret: str = msgspec.field(default="", name="Secret")


def find_credentials(host: str) -> Credentials | None:
    """What this machine's user is for that registry; None: nobody.

    Raises:
        NetworkError: a configuration or a credential helper can't be used.
    """
    for configuration in _configurations():
        found = _configured(configuration, host)
        if found is not None:
            return found
    found = _from_netrc(netrc_file(), host)
    if found is not None:
        return found
    held = ask_keyring(host)
    return Credentials(user=held[0], password=held[1]) if held else None


def basic(credentials: Credentials) -> str:
    """User and password as an Authorization header has them (RFC 7617)."""
    if not credentials.user:
        return ""
    return base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def _configurations() -> Iterator[_Configuration]:
    written, files = docker_configuration()
    if written:
        yield _parse(written.encode(), "DOCKER_AUTH_CONFIG")
    for path in files:
        if path.is_file():
            yield _parse(path.read_bytes(), str(path))


def _parse(data: bytes, where: str) -> _Configuration:
    try:
        return msgspec.json.decode(data, type=_Configuration)
    except msgspec.DecodeError as error:
        # The error says where, and never what stands there.
        raise NetworkError("oci.credentials", f"credentials in '{where}' can't be read: {error}") from error


def _configured(configuration: _Configuration, host: str) -> Credentials | None:
    names = [host, f"https://{host}", f"http://{host}", f"https://{host}/", _DOCKER_HUB.get(host, "")]
    for name in filter(None, names):
        helper = configuration.helpers.get(name)
        if helper:
            return _ask_helper(helper, name)
        entry = configuration.auths.get(name)
        if entry is not None and (entry.auth or entry.username or entry.identity_token):
            return _decode(entry)
    if configuration.store:
        return _ask_helper(configuration.store, _DOCKER_HUB.get(host, host))
    return None


def _decode(entry: _Auth) -> Credentials:
    user, password = entry.username, entry.password
    if entry.auth:
        try:
            text = base64.b64decode(entry.auth, validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise NetworkError("oci.credentials", "an 'auth' of Docker's configuration is not base64") from error
        user, _, password = text.partition(":")
    return Credentials(user=user, password=password, identity_token=entry.identity_token)


def _ask_helper(suffix: str, server: str) -> Credentials | None:
    """What ``docker-credential-SUFFIX get`` says; None: it knows nothing of that server."""
    name = f"docker-credential-{suffix}"
    program = shutil.which(name) if re.fullmatch(r"[A-Za-z0-9._-]+", suffix) else None
    if program is None:
        raise NetworkError(
            "oci.credentials", f"credential helper '{name}' is not on PATH", hint="install it, or docker login anew"
        )
    try:
        ran = subprocess.run(  # noqa: S603 - the user's own Docker configuration names this program
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetworkError("oci.credentials", f"credential helper '{name}' does not answer") from error
    if ran.returncode != 0:
        return None
    try:
        answer = msgspec.json.decode(ran.stdout, type=_Answer)
    except msgspec.DecodeError as error:
        raise NetworkError("oci.credentials", f"credential helper '{name}' answers no JSON") from error
    if answer.user == _TOKEN_USER:
        return Credentials(identity_token=answer.secret)
    return Credentials(user=answer.user, password=answer.secret)


def _from_netrc(path: Path, host: str) -> Credentials | None:
    if not path.is_file():
        return None
    try:
        known = netrc.netrc(path)
    except (netrc.NetrcParseError, OSError) as error:
        # Its message shows the token that it stumbled over, which may be a password.
        raise NetworkError("oci.credentials", f"'{path}' can't be read as .netrc") from error
    entry = known.authenticators(host) or known.authenticators(host.partition(":")[0])
    return Credentials(user=entry[0] or "", password=entry[2] or "") if entry else None
