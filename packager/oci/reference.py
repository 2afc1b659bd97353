"""References such as ``oci://registry.example.com/team/digits:3``.

OCI distribution specification 1.1, "Pulling manifests": the grammar of names and tags.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from packager.errors import ConfigError
from packager.redaction import redact, secret_in

PREFIX = "oci://"

_REFERENCE = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)"
    r"/(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a registry."""

    host: str
    """With its port, where it has one."""
    name: str
    """The repository."""
    tag: str = ""
    digest: str = ""

    @property
    def wanted(self) -> str:
        """The digest where there is one, else the tag: what a registry is asked for."""
        return self.digest or self.tag

    @property
    def server(self) -> str:
        """The host that answers: Docker Hub's is not the one that people write."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    @property
    def base(self) -> str:
        """The URL of the repository; encrypted unless the registry is on this machine."""
        return f"{'http' if is_loopback(self.host) else 'https'}://{self.server}/v2/{self.name}"

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{PREFIX}{self.host}/{self.name}{tag}{digest}"


def parse_reference(written: str, *, named: bool = True) -> Reference:
    """The reference that was written; `named`: it must have a tag or a digest.

    Raises:
        ConfigError: it is none, or holds credentials.
    """
    if secret_in(written):
        raise ConfigError(
            "oci.reference", "a reference holds no credentials", hint="docker login keeps them where pack finds them"
        )
    match = _REFERENCE.fullmatch(written)
    if match is None or (named and not (match["tag"] or match["digest"])):
        raise ConfigError(
            "oci.reference", f"expected oci://HOST/NAME:TAG or oci://HOST/NAME@DIGEST, got '{redact(written)}'"
        )
    return Reference(host=match["host"], name=match["name"], tag=match["tag"] or "", digest=match["digest"] or "")


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine, so that nobody listens in."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
