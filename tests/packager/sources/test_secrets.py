"""Secrets are planted wherever credentials come from, and then looked for in all that was written."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.layout import IMAGE_MEDIA_TYPE, Descriptor, Image
from packager.config import load_project, worker_environment
from packager.errors import ConfigError
from packager.oci.reference import parse_reference
from packager.oci.registry import Repository
from packager.redaction import redact
from tests.fakes.vault import PASSWORD as KEYRING_PASSWORD
from tests.packager.servers import REGISTRY_PASSWORD, REGISTRY_USER, ROOT, docker_registry, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.packager.conftest import Pack
    from tests.packager.servers import Address

DOCKER_AUTH = base64.b64encode(f"{REGISTRY_USER}:{REGISTRY_PASSWORD}".encode()).decode()
NETRC_PASSWORD = "planted-netrc-password"  # noqa: S105 - planted
NETRC_AUTH = base64.b64encode(f"reader:{NETRC_PASSWORD}".encode()).decode()
KEYRING_AUTH = base64.b64encode(f"keeper:{KEYRING_PASSWORD}".encode()).decode()
SIGNATURE = "planted-query-signature"
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "HF_TOKEN": "planted-hf-token",
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-token",
    "PACK_SIGNING_PASSPHRASE": "planted-passphrase",
}
MLFLOW_PASSWORD = "planted-url-password"  # noqa: S105 - planted
SECRETS = (
    REGISTRY_PASSWORD,
    DOCKER_AUTH,
    NETRC_PASSWORD,
    NETRC_AUTH,
    KEYRING_PASSWORD,
    KEYRING_AUTH,
    SIGNATURE,
    MLFLOW_PASSWORD,
    *ENVIRONMENT.values(),
)


def small_model() -> bytes:
    from onnx import TensorProto, helper

    shape = ["N", 2]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


class Redirecting(BaseHTTPRequestHandler):
    """A server that wants a password, and then sends its clients to an address with a signature, as clouds do."""

    model = small_model()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        status, headers, content = 404, {}, b""
        if path == "/models/net.onnx" and self.headers.get("Authorization") == f"Basic {NETRC_AUTH}":
            status, headers = 302, {"Location": f"/storage/net.onnx?X-Amz-Signature={SIGNATURE}"}
        elif path == "/vault/net.onnx":
            known = self.headers.get("Authorization") == f"Basic {KEYRING_AUTH}"
            status, headers, content = (200, {"ETag": '"2"'}, self.model) if known else (401, {}, b"")
        elif path == "/storage/net.onnx" and SIGNATURE in query:
            status, headers, content = 200, {"ETag": '"1"'}, self.model
        elif path == "/models/dead.onnx":
            status, headers = 302, {"Location": f"http://127.0.0.1:1/net.onnx?X-Amz-Signature={SIGNATURE}"}
        elif path == "/models/lost.onnx":
            status, headers = 302, {"Location": f"/storage/lost.onnx?X-Amz-Signature={SIGNATURE}"}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        """Nothing."""


@pytest.fixture
def web() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with docker_registry(tmp_path_factory.mktemp("guarded"), guarded=True) as address:
        yield address


def put_model(reference: str, folder: Path) -> None:
    place = parse_reference(reference)
    described = []
    with Repository(place) as repository:
        for kind, content in [("config.v1+json", b"{}"), ("weight.v1.raw", small_model())]:
            blob = Descriptor(
                media_type=f"application/vnd.cncf.model.{kind}",
                digest=digest_bytes(content),
                size=len(content),
                annotations={"org.cncf.model.filepath": "net.onnx"},
            )
            (folder / "blob").write_bytes(content)
            repository.upload(folder / "blob", blob)
            described.append(blob)
        image = Image(schema_version=2, media_type=IMAGE_MEDIA_TYPE, config=described[0], layers=tuple(described[1:]))
        repository.put_manifest(canonical_json(image), place.tag, IMAGE_MEDIA_TYPE)


@pytest.fixture
def planted(
    registry: Address, project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Address:
    """The registry, with a model in it, once secrets are wherever credentials come from."""
    del project  # which forgets what the environment says of registries
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    (home / ".docker").mkdir()
    auths = {f"127.0.0.1:{registry.port}": {"auth": DOCKER_AUTH}}
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    (home / ".netrc").write_text(f"machine 127.0.0.1 login reader password {NETRC_PASSWORD}\n")
    (home / ".netrc").chmod(0o600)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.fakes.vault.Vault")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    put_model(f"oci://127.0.0.1:{registry.port}/net:1", home)
    return registry


def test_no_planted_secret_is_in_anything_that_pack_writes(
    planted: Address, web: int, pack: Pack, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("VAULT_HOST", f"127.0.0.1:{web}")
    host = f"127.0.0.1:{planted.port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{MLFLOW_PASSWORD}@127.0.0.1:{free_port()}")
    said = ""
    for source, code in (
        (f"oci://{host}/net:1", 0),
        (f"oci://{host}/net:2", 2),
        (f"http://127.0.0.1:{web}/models/net.onnx", 0),
        (f"http://127.0.0.1:{web}/vault/net.onnx", 0),
        (f"http://127.0.0.1:{web}/models/lost.onnx", 2),
        (f"http://127.0.0.1:{web}/models/dead.onnx", 6),
        (f"http://me:{MLFLOW_PASSWORD}@127.0.0.1:{web}/models/net.onnx", 2),
        (f"http://127.0.0.1:{web}/models/net.onnx?sig={SIGNATURE}", 2),
        ("models:/net/1", 6),
    ):
        document = f'[model]\nname = "net"\nversion = "1"\nsource = "{source}"\n[targets.cloud]\n'
        (project / "pack.toml").write_text(document)
        ran = pack("--unsigned", "-o", "json", at=project)
        assert ran.code == code, ran.err
        said += ran.out + ran.err
    pushed = pack("push", "net:1@cloud", f"oci://{host}/bundles/net", at=project)
    pulled = pack("pull", f"oci://{host}/bundles/net:1-cloud", "--to", tmp_path / "other")
    assert (pushed.code, pulled.code) == (0, 0)
    (project / "pack.toml").unlink()
    written = {"output": (said + pushed.out + pushed.err + pulled.out + pulled.err).encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len([path for path in written if "blobs" in path]) > 6
    assert [(where, secret) for where, data in written.items() for secret in SECRETS if secret.encode() in data] == []


def test_only_a_worker_that_fetches_gets_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{MLFLOW_PASSWORD}@mlflow.example.com")
    kept = {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"}
    fetching, converting = worker_environment(credentials=True), worker_environment()
    assert {name for name, value in fetching.items() if value in SECRETS} == kept
    assert fetching["MLFLOW_TRACKING_USERNAME"] == "me"
    assert [name for name, value in converting.items() if any(secret in value for secret in SECRETS)] == []
    assert fetching["MLFLOW_TRACKING_URI"] == converting["MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert fetching["MLFLOW_DISABLE_TELEMETRY"] == converting["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_project_knows_its_tracking_server_without_the_password(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{MLFLOW_PASSWORD}@mlflow.example.com/base")
    document = '[model]\nname = "net"\nsource = "models:/net/1"\n{}\n[targets.cloud]\n'
    (project / "pack.toml").write_text(document.format(""))
    assert load_project(project).tracking_uri == "https://mlflow.example.com/base"
    written = f'tracking_uri = "https://me:{MLFLOW_PASSWORD}@mlflow.example.com"'
    (project / "pack.toml").write_text(document.format(written))
    with pytest.raises(ConfigError, match=r"'model.tracking_uri' holds a user or a password") as caught:
        load_project(project)
    assert MLFLOW_PASSWORD not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:word@host/x failed", "GET https://***@host/x failed"),
        ("at https://host/x?X-Amz-Signature=abc&b=1, again", "at https://host/x?*** again"),
        ("url: /x?sig=abcdef&b=1", "url: /x?sig=***&b=1"),
        ("Authorization: Bearer abcdefghijk.lm-n", "Authorization: Bearer ***"),
        ("postgres://me:word@host/data", "postgres://***@host/data"),
        ("a basic classifier of https://host/x", "a basic classifier of https://host/x"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_the_environments_secrets_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "planted-value")
    monkeypatch.setenv("SOME_NUMBER", "planted")
    assert redact("it says planted-value and planted") == "it says *** and planted"
