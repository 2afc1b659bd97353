"""A web server of our own, which is spoken to over real TLS."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from manifests.digests import digest_bytes
from packager.errors import ConfigError, ConversionError, NetworkError
from tests.packager.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.sources.conftest import Fetch

WEIGHTS = b"weights of a model " * 50_000
SIGNED = "X-Amz-Signature=planted-signature"


class Web:
    """What a server serves, what it was asked for, and how it fails."""

    def __init__(self) -> None:
        self.files = {"/net.onnx": WEIGHTS}
        self.port = 0
        self.tagged = True
        self.announced = True
        self.password = ""
        self.moved: dict[str, str] = {}
        self.cuts: list[int] = []
        self.ranges: list[str] = []
        """The Range headers of answers whose body was sent."""

    def address(self, path: str = "/net.onnx") -> str:
        return f"https://127.0.0.1:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def web(self) -> Web:
        return cast("WebServer", self.server).web

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in self.web.moved:
            self._say(302, {"Location": self.web.moved[path], "Content-Length": "0"})
        elif self.web.password and self.headers.get("Authorization") != f"Basic {self.web.password}":
            self._say(401, {"WWW-Authenticate": "Basic", "Content-Length": "0"})
        elif path not in self.web.files:
            self._say(404, {"Content-Length": "0"})
        else:
            self._send(self.web.files[path])

    def _send(self, content: bytes) -> None:
        tag = f'"{digest_bytes(content)}"'
        asked = self.headers.get("Range", "")
        headers = {"ETag": tag} if self.web.tagged else {}
        status, rest = 200, content
        if asked and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status, rest = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.web.announced:
            headers["Content-Length"] = str(len(rest))
        else:
            headers["Connection"] = "close"
        self.web.ranges.append(asked)
        self._say(status, headers)
        if self.web.cuts:
            rest = rest[: self.web.cuts.pop(0)]
            self.close_connection = True
        try:
            self.wfile.write(rest)
        except OSError:
            self.close_connection = True  # who only wanted to see the headers is gone

    def _say(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        """Nothing."""


class WebServer(ThreadingHTTPServer):
    def __init__(self, web: Web) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.web = web

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is none of our business."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the key and the certificate of 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web(certificate: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    del project
    web = Web()
    server = WebServer(web)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    web.port = server.server_port
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(server):
        yield web


def test_a_file_is_fetched_once_as_long_as_its_tag_is_the_same(web: Web, fetch: Fetch) -> None:
    first = fetch(web.address())
    assert (first.path.name, first.digest, first.reference) == ("net.onnx", digest_bytes(WEIGHTS), web.address())
    asked = len(web.ranges)
    assert fetch(web.address()).path == first.path
    assert len(web.ranges) == asked + 1
    web.files["/net.onnx"] = b"another"
    assert fetch(web.address()).path.read_bytes() == b"another"


def test_an_interrupted_download_goes_on_where_it_stopped(web: Web, fetch: Fetch) -> None:
    # Two answers are looked at for their headers alone.
    web.cuts = [0, 0, 1 << 18, 1 << 18]
    assert fetch(web.address()).digest == digest_bytes(WEIGHTS)
    assert web.ranges == ["", "", "", f"bytes={1 << 18}-", f"bytes={1 << 19}-"]


def test_a_file_that_changes_while_it_is_fetched_is_not_put_together_from_two(web: Web, fetch: Fetch) -> None:
    web.cuts = [0, 0, 1 << 18]
    original = web.files["/net.onnx"]

    class Changing(dict[str, bytes]):
        def __getitem__(self, path: str) -> bytes:
            return original if len(web.ranges) < 3 else b"x" * len(original)

    web.files = Changing(web.files)
    with pytest.raises(ConfigError, match="changed while it was fetched"):
        fetch(web.address())


def test_a_server_that_says_neither_size_nor_version_is_fetched_whole_each_time(web: Web, fetch: Fetch) -> None:
    web.tagged = web.announced = False
    assert fetch(web.address()).digest == digest_bytes(WEIGHTS)
    assert not fetch(web.address()).cached
    with pytest.raises(ConversionError, match="too large"):
        fetch(web.address(), "size_limit = 1000")


def test_a_file_above_the_limit_is_refused_before_it_is_fetched(web: Web, fetch: Fetch) -> None:
    web.cuts = [0] * 9
    with pytest.raises(ConversionError, match=f"expected at most 1000 bytes, got {len(WEIGHTS)}"):
        fetch(web.address(), "size_limit = 1000")


def test_credentials_come_from_netrc_and_a_wrong_one_is_not_shown(
    web: Web, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.password = base64.b64encode(b"trainer:planted-netrc-password").decode()
    with pytest.raises(NetworkError, match="refuses who you are: status 401") as caught:
        fetch(web.address())
    assert ".netrc" in caught.value.hint
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    netrc.write_text("machine 127.0.0.1 login trainer password planted-netrc-password\n")
    assert fetch(web.address()).digest == digest_bytes(WEIGHTS)
    netrc.write_text("machine 127.0.0.1 login trainer password planted-wrong-password\n")
    with pytest.raises(NetworkError, match="refuses who you are") as caught:
        fetch(web.address())
    assert "planted" not in f"{caught.value} {caught.value.hint}"


def test_a_redirection_is_followed_and_its_signature_is_not_shown(web: Web, fetch: Fetch) -> None:
    web.moved = {"/model": f"/net.onnx?{SIGNED}", "/lost": f"/nothing?{SIGNED}"}
    fetched = fetch(web.address("/model"))
    assert (fetched.path.name, fetched.reference) == ("model", web.address("/model"))
    with pytest.raises(ConfigError, match="no model at") as caught:
        fetch(web.address("/lost"))
    assert "planted" not in f"{caught.value} {caught.value.hint}"
    web.moved = {"/dead": f"https://127.0.0.1:{free_port()}/net.onnx?{SIGNED}"}
    with pytest.raises(NetworkError, match="can't be fetched") as caught:
        fetch(web.address("/dead"))
    assert "planted" not in f"{caught.value} {caught.value.hint}"


def test_a_redirection_to_an_address_without_tls_is_refused(web: Web, fetch: Fetch) -> None:
    web.moved = {"/model": f"http://example.invalid/net.onnx?{SIGNED}"}
    with pytest.raises(NetworkError, match="expected an https:// address") as caught:
        fetch(web.address("/model"))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("https://trainer:planted-password@example.invalid/net.onnx", "a user or a password"),
        (f"https://example.invalid/net.onnx?{SIGNED}", "a signature or a token"),
        ("https://example.invalid/net.onnx?sig=planted", "a signature or a token"),
        ("s3://planted:planted@bucket/net.onnx", "a user or a password"),
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_shown(source: str, what: str, fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        fetch(source)
    assert "planted" not in f"{caught.value} {caught.value.hint}"


def test_an_address_without_tls_is_refused(fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match="expected an https:// address"):
        fetch("http://example.invalid/net.onnx")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    web: Web, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(NetworkError, match="certificate verify failed"):
        fetch(web.address())
