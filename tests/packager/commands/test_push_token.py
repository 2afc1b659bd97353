"""Debian's docker-registry, which sends its clients to a token server, as the registries of all clouds do."""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.packager.servers import REGISTRY_PASSWORD, REGISTRY_USER, docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.commands.conftest import Stored
    from tests.packager.conftest import Pack
    from tests.packager.servers import Address

SERVICE, ISSUER = "registry.test", "tokens.test"
BASIC = base64.b64encode(f"{REGISTRY_USER}:{REGISTRY_PASSWORD}".encode()).decode()
IDENTITY_TOKEN = "planted-identity-token"  # noqa: S105 - planted


def compact(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer(ThreadingHTTPServer):
    """Hands out tokens (distribution.github.io/distribution/spec/auth/jwt) to whom it knows."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.issued = 0

    def token(self, scope: str) -> str:
        self.issued += 1
        kind, name, actions = scope.split(":")
        now = int(time.time())
        chain = [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]
        header = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        claims = {
            "iss": ISSUER,
            "sub": REGISTRY_USER,
            "aud": SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now - 10,
            "jti": str(self.issued),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = ".".join(compact(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{compact(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self._answer(asked, known=self.headers.get("Authorization") == f"Basic {BASIC}")

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        known = asked["grant_type"] == ["refresh_token"] and asked["refresh_token"] == [IDENTITY_TOKEN]
        self._answer(asked, known=known)

    def _answer(self, asked: dict[str, list[str]], *, known: bool) -> None:
        content = b"{}"
        if known and asked["service"] == [SERVICE]:
            content = json.dumps({"token": cast("TokenServer", self.server).token(asked["scope"][0])}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        """Nothing."""


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def registry(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "root.pem").write_bytes(tokens.certificate.public_bytes(serialization.Encoding.PEM))
    realm = f"http://127.0.0.1:{tokens.server_port}/token"
    options = f"realm: '{realm}', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {folder}/root.pem"
    with docker_registry(folder, authorization=f"token: {{{options}}}") as address:
        yield address


@pytest.mark.parametrize(
    "entry",
    [{"auth": BASIC}, {"auth": base64.b64encode(b"0:").decode(), "identitytoken": IDENTITY_TOKEN}],
    ids=["password", "identity token"],
)
def test_a_token_is_fetched_for_what_the_registry_asks(
    entry: dict[str, str],
    registry: Address,
    pack: Pack,
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = f"127.0.0.1:{registry.port}"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: entry}}))
    pushed = pack("push", "digits:3@edge-arm", f"oci://{host}/team/digits:3", at=stored.project)
    assert pushed.code == 0, pushed.err
    pulled = pack("pull", f"oci://{host}/team/digits:3", "--to", tmp_path / "other", "-o", "tag")
    assert pulled.out == "digits:3@edge-arm\n"


def test_who_is_unknown_to_the_token_server_is_told_to_log_in(
    registry: Address, pack: Pack, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"127.0.0.1:{registry.port}"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: {"identitytoken": "planted-wrong"}}}))
    refused = pack("push", "digits:3@edge-arm", f"oci://{host}/team/digits:3", at=stored.project)
    assert refused.code == 6
    assert "the token server of" in refused.err
    assert f"docker login {host}" in refused.err
    assert "planted" not in refused.err
