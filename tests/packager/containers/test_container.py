"""`pack container`: the image is assembled, copied by other people's tools, and runs as nobody in a root of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from manifests.digests import digest_file
from manifests.layout import Layout
from packager.containers.layers import write_layer
from tests.packager.servers import docker_registry, free_port
from tests.packager.serving.conftest import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.projects import Project

DIGEST = "sha256:" + "a" * 64


def container(project: Project, output: Path, *more: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    words = ["container", "scale:1@cloud", "--key", project.key, "--output", output, "--form", "json", *more]
    command = [*PACK, *map(str, words)]
    ran = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert ran.returncode == expect, ran.stderr
    return ran


@pytest.fixture(scope="module")
def built(project: Project, python_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("built") / "container"
    container(project, output, "--base", python_base)
    return output


@pytest.fixture(scope="module")
def image(built: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Its digest, its manifest and its configuration."""
    layout = Layout.open(built / "image")
    descriptor = layout.resolve("scale:1")
    manifest = json.loads(layout.read_bytes(descriptor))
    config = json.loads(layout.blob_path(manifest["config"]["digest"]).read_bytes())
    return descriptor.digest, manifest, config


def test_every_layer_is_what_its_digests_say(built: Path, image: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    _, manifest, config = image
    layout = Layout.open(built / "image")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 4
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        packed = layout.blob_path(layer["digest"])
        assert f"sha256:{hashlib.sha256(packed.read_bytes()).hexdigest()}" == layer["digest"]
        unpacked = subprocess.run(["gzip", "-dc", packed], check=True, capture_output=True).stdout
        assert f"sha256:{hashlib.sha256(unpacked).hexdigest()}" == diff_id


def test_the_image_is_nobodys_and_says_how_it_is_watched(image: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    _, manifest, config = image
    settings = config["config"]
    assert settings["User"] == "65532:65532"
    assert settings["Healthcheck"]["Test"][:2] == ["CMD", "python3"]
    assert settings["Entrypoint"][:4] == ["python3", "/opt/packtrain/bin/pack", "serve", "scale:1@cloud"]
    assert "PATH=/usr/local/bin:/bin" in settings["Env"]
    assert [entry for entry in settings["Env"] if entry.startswith("PYTHONPATH=")] == ["PYTHONPATH=/opt/packtrain/lib"]
    assert manifest["annotations"]["org.opencontainers.image.base.digest"].startswith("sha256:")
    assert config["created"] == "2024-01-02T03:04:05Z"


def test_no_file_of_the_image_names_this_machine_and_none_belongs_to_a_user(built: Path) -> None:
    for name in ("distributions.tar.gz", "packtrain.tar.gz", "bundle.tar.gz"):
        with tarfile.open(built / name) as archive:
            for member in archive:
                assert (member.uid, member.gid, member.mtime, member.uname) == (0, 0, 0, ""), member.name
                assert member.mode in {0o644, 0o755}
                assert not member.name.endswith(("direct_url.json", "RECORD", ".pyc"))
                assert "__pycache__" not in member.name
                if member.name.endswith((".json", ".txt", "METADATA")) and member.isfile():
                    stream = archive.extractfile(member)
                    assert stream is not None
                    assert os.fsencode(sys.prefix) not in stream.read(), member.name


def test_the_server_runs_in_the_images_root_as_nobody(
    built: Path, image: tuple[str, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    chroot = shutil.which("chroot")
    if os.geteuid() != 0 or chroot is None:
        pytest.skip("chroot needs root")
    _, manifest, config = image
    root, port = tmp_path / "root", free_port()
    layout = Layout.open(built / "image")
    for layer in manifest["layers"]:
        with tarfile.open(layout.blob_path(layer["digest"])) as archive:
            archive.extractall(root, filter="fully_trusted")  # noqa: S202 - our own layers
    (root / "tmp").chmod(0o1777)
    # What a container's runtime brings; gRPC wants to read it.
    (root / "dev").mkdir()
    os.mknod(root / "dev" / "urandom", stat.S_IFCHR | 0o666, os.makedev(1, 9))
    (root / "dev" / "urandom").chmod(0o666)
    settings = config["config"]
    words = settings["Entrypoint"]
    words[words.index("--port") + 1] = str(port)
    words[words.index("--grpc-port") + 1] = "0"
    environment = dict(entry.split("=", 1) for entry in settings["Env"])
    command = [chroot, f"--userspec={settings['User']}", str(root), *words]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        ready = 0
        while ready != 200:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                ready = httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code
        tensors = [
            {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
            {"name": "kind", "shape": [1], "datatype": "INT64", "data": [1]},
        ]
        answer = httpx.post(f"http://127.0.0.1:{port}/v2/models/scale/infer", json={"inputs": tensors}).json()
        assert answer["outputs"][0]["data"] == [10.0, 20.0, 30.0, 40.0]
        probe = [word.replace("8080", str(port)) for word in settings["Healthcheck"]["Test"][1:]]
        chrooted = [chroot, f"--userspec={settings['User']}", str(root), *probe]
        assert subprocess.run(chrooted, env=environment, check=False).returncode == 0
    finally:
        process.terminate()
        process.wait(20)


def test_skopeo_and_a_registry_take_the_image(
    built: Path, image: tuple[str, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not here: apt-get install skopeo")
    with docker_registry(tmp_path) as registry:
        place = f"docker://{registry.host}:{registry.port}/team/scale:1"
        copy = [skopeo, "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        subprocess.run([*copy, f"oci:{built / 'image'}:scale:1", place], check=True)
        inspect = [skopeo, "inspect", "--tls-verify=false", place]
        seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert seen["Digest"] == image[0]
    assert seen["Labels"]["dev.packtrain.bundle"].startswith("sha256:")
    assert seen["Layers"] == [layer["digest"] for layer in image[1]["layers"]]


def test_buildah_builds_the_dockerfile_to_the_same_files(built: Path, python_base: Path, tmp_path: Path) -> None:
    buildah, skopeo = shutil.which("buildah"), shutil.which("skopeo")
    if buildah is None or skopeo is None or os.geteuid() != 0:
        pytest.skip("buildah and skopeo are not here, or this is not root: apt-get install buildah skopeo")
    context = tmp_path / "context"
    shutil.copytree(built, context, ignore=shutil.ignore_patterns("image"))
    with docker_registry(tmp_path) as registry:
        name = f"{registry.host}:{registry.port}/python"
        copy = [skopeo, "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        subprocess.run([*copy, f"oci:{python_base}", f"docker://{name}:3"], check=True)
        dockerfile = context / "Dockerfile"
        text = re.sub(r"FROM \S+@", f"FROM {name}@", dockerfile.read_text())
        dockerfile.write_text(text)
        storage = ["--root", str(tmp_path / "storage"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
        build = [buildah, *storage, "bud", "--isolation", "chroot", "--tls-verify=false", "--format", "docker"]
        subprocess.run([*build, "--quiet", "-t", "scale", str(context)], check=True, cwd=tmp_path)
        inspect = [buildah, *storage, "inspect", "--type", "image", "scale"]
        seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    settings = seen["Docker"]["config"]
    assert settings["User"] == "65532:65532"
    assert settings["Healthcheck"]["Retries"] == 3
    assert settings["Entrypoint"][2:4] == ["serve", "scale:1@cloud"]


def test_the_inventory_is_a_cyclonedx_document_of_all_that_is_in(built: Path) -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib[json-validation] is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (built / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    listed = {entry["name"]: entry for entry in document["components"] if entry["type"] == "library"}
    assert {"onnxruntime", "numpy", "litestar", "grpcio", "cryptography"} <= set(listed)
    with tarfile.open(built / "distributions.tar.gz") as archive:
        found = {
            re.sub(r"[-_.]+", "-", match[1]).lower()
            for name in archive.getnames()
            if (match := re.fullmatch(r"opt/packtrain/lib/([^/]+)-[^/-]+\.dist-info", name))
        }
    assert set(listed) == found
    (model,) = [entry for entry in document["components"] if entry["type"] == "machine-learning-model"]
    assert model["name"] == "scale"
    known = {"container", "base", "packtrain", "model", *(entry["bom-ref"] for entry in listed.values())}
    for entry in document["dependencies"]:
        assert {entry["ref"], *entry["dependsOn"]} <= known


def test_a_base_in_a_registry_is_pinned_or_its_digest_is_asked_for(
    project: Project, built: Path, tmp_path: Path
) -> None:
    container(project, tmp_path / "pinned", "--base", f"oci://docker.io/library/python:3.11-slim@{DIGEST}")
    text = (tmp_path / "pinned" / "Dockerfile").read_text()
    assert f"FROM docker.io/library/python:3.11-slim@{DIGEST}\n" in text
    assert "RUN" not in text
    assert not (tmp_path / "pinned" / "image").exists()
    for name in ("distributions.tar.gz", "bundle.tar.gz"):
        again, first = (digest_file(folder / name) for folder in (tmp_path / "pinned", built))
        # The inventory that goes with the bundle names the base.
        assert (again == first) is (name == "distributions.tar.gz")
    ran = container(project, tmp_path / "x", "--base", f"oci://127.0.0.1:{free_port()}/python:3", expect=6)
    assert "the digest of" in ran.stderr
    assert "@sha256:..." in ran.stderr


def test_what_was_changed_after_its_installation_does_not_go_in(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / "thing-1.dist-info").mkdir(parents=True)
    (folder / "thing.py").write_text("changed")
    (folder / "thing-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
    (folder / "thing-1.dist-info" / "RECORD").write_text("thing.py,sha256=" + "A" * 43 + ",7\n")
    script = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from packager.containers import distributions as d\n"
        "print(d._describe('thing', []))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "file 'thing.py' of distribution 'thing' is not what was installed" in ran.stderr


def test_a_layer_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    first = write_layer(tmp_path / "1.tar.gz", {"x/b": b"b", "x/a": tmp_path / "a"})
    os.utime(tmp_path / "a", (1, 1))
    (tmp_path / "a").chmod(0o600)
    second = write_layer(tmp_path / "2.tar.gz", {"x/a": tmp_path / "a", "x/b": b"b"})
    assert (first.digest, first.diff_id) == (second.digest, second.diff_id)


@pytest.mark.parametrize(
    ("more", "words"),
    [(("--base", "nowhere"), "no image layout at 'nowhere'"), (("--base", "."), "is not an OCI image layout")],
)
def test_a_base_that_is_none_is_refused(project: Project, tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    assert words in container(project, tmp_path / "x", *more, expect=2).stderr
