from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from agent.config import read_config
from fleet.cli import main
from fleet.publish import publish
from fleet.workspace import Ports
from manifests.signing import generate_key, public_pem, write_key
from wire.messages import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fleet.publish import Address
    from fleet.store import Store
    from fleet.workspace import Workspace

    MakeBundle = Callable[..., Address]


@pytest.fixture
def here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace.folder)
    return workspace.folder


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401 - JSON
    assert main([*arguments, "--output", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "litestar", "aiomqtt", "tuf", "uvicorn", "cryptography", "rich")
    program = (
        "import sys; from fleet.cli import main; assert main(['--version']) == 0;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"pack-fleet {version('packtrain')}", "[]"]


def test_init_makes_a_workspace_that_is_found_from_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = result(capsys, "init", "--fleet", "north")
    assert made == {"workspace": str(tmp_path / "fleet"), "fleet": "north"}
    assert result(capsys, "devices") == []
    code, _, said = refusal(capsys, "init")
    assert code == 2
    assert "is not empty" in said


def test_without_a_workspace_the_hint_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, said = refusal(capsys, "devices")
    assert (code, out) == (2, "")
    assert said.startswith("error: no workspace")
    assert "hint: pack-fleet init" in said


def test_a_wrong_field_of_the_configuration_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (here / "fleet.toml").read_text()
    (here / "fleet.toml").write_text(text.replace("port = 0", "port = 99999", 1))
    code, _, said = refusal(capsys, "devices")
    assert code == 2
    assert "$.broker.port" in said


def test_an_enrolled_device_reads_its_configuration(
    here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = result(
        capsys,
        *("enroll", "cam-1", "--out", str(tmp_path / "device"), "--broker", "hub.example:8883", "--state", "/var/x"),
        *("-t", "edge-arm", "-t", "cloud", "-l", "site=north", "-l", 'note=a "b" \\ é', "--health", "self-test"),
        *("--telemetry-interval", "2.5"),
    )
    config = read_config(tmp_path / "device" / "agent.toml")
    assert made == {"device": "cam-1", "config": str(tmp_path / "device" / "agent.toml")}
    assert (config.device, config.fleet, config.targets) == ("cam-1", "demo", ("edge-arm", "cloud"))
    assert (config.broker.host, config.broker.port, config.health.policy) == ("hub.example", 8883, "self-test")
    assert (str(config.state), config.telemetry.interval) == ("/var/x", 2.5)
    assert config.labels == {"site": "north", "note": 'a "b" \\ é'}
    assert config.root.read_bytes() == (here / "repository" / "metadata" / "1.root.json").read_bytes()
    assert config.key.stat().st_mode & 0o777 == 0o600
    (device,) = result(capsys, "devices")
    assert (device["name"], device["online"], device["targets"]) == ("cam-1", False, ["edge-arm", "cloud"])


def test_a_device_may_bring_a_key_of_its_own(
    workspace: Workspace, here: Path, database: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert here == workspace.folder
    key = generate_key()
    public = write_key(key, tmp_path / "own.key")
    result(capsys, "enroll", "cam-1", "--out", str(tmp_path / "d"), "--broker", "h:1", "--key", str(public))
    assert not (tmp_path / "d" / "device.key").exists()
    device = database.devices.find("cam-1")
    assert device is not None
    assert device.public_key == public_pem(key.public_key)


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = refusal(capsys)
    assert (code, out) == (2, "")
    assert "publish " in said


def test_a_device_is_enrolled_at_the_port_that_the_last_server_had(
    workspace: Workspace, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.keep_ports(Ports(broker=4711, api=4712))
    result(capsys, "enroll", "cam-1")
    assert read_config(here / "cam-1" / "agent.toml").broker.port == 4711


def test_a_damaged_note_of_the_ports_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "ports.json").write_text("{")
    code, _, said = refusal(capsys, "enroll", "cam-1")
    assert code == 2
    assert "[fleet.ports]" in said


def test_enrolling_for_a_target_without_a_release_says_so(
    workspace: Workspace, here: Path, database: Store, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here.is_dir()
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    assert main(["enroll", "cam-1", "--broker", "h:1", "-t", "cloud"]) == 0
    assert "no release" not in capsys.readouterr().err
    assert main(["enroll", "cam-2", "--broker", "h:1", "-t", "nope", "-t", "cloud"]) == 0
    assert "no release is for nope yet" in capsys.readouterr().err


def test_devices_are_online_only_while_a_server_runs(
    workspace: Workspace,
    here: Path,
    database: Store,
    make_bundle: MakeBundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert here.is_dir()
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    database.devices.enroll("cam", "", targets=("cloud",), labels={}, now=1.0)
    database.devices.note_status("cam", Status(state="online", boot="b"), now=86_400.0)
    for arguments in (("devices",), ("where", "digits")):
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert "no server runs for this workspace: devices were last heard of at 1970-01-0" in said.err
        assert "online" not in said.out
    assert [device["online"] for device in result(capsys, "devices")] == [False]
    with workspace.serving():
        assert main(["devices", "--output", "json"]) == 0
        said = capsys.readouterr()
        assert ([device["online"] for device in json.loads(said.out)], said.err) == ([True], "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enroll", "Cam", "--broker", "h:1"), "is no name"),
        (("enroll", "all", "--broker", "h:1"), "is taken"),
        (("enroll", "cam"), "not known"),
        (("enroll", "cam", "--broker", "h"), "is no address"),
        (("enroll", "cam", "--broker", "h:1", "-t", "No Pe"), "'No Pe' is no name of a target"),
        (("enroll", "cam", "--broker", "h:1", "-l", "site"), "is no label"),
        (("assign", "digits"), "missing --to"),
        (("assign", "digits", "--to", "all"), "no release of 'digits'"),
        (("publish", "digits:3@cloud"), "no bundles here"),
        (("publsh",), "error: no such command 'publsh' [usage]\nhint: did you mean 'publish'?\n"),
        (("assign", "x", "--too", "y"), "error: no such option: --too [usage]\nhint: did you mean '--to'?\n"),
        (("-w", ".", "devices"), "hint: it stands behind the command: pack-fleet COMMAND -w ...\n"),
        (("where", "digist"), "error: no release of 'digist' [fleet.release]"),
        (("audit",), "missing command"),
        (("where",), "missing MODEL"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_was_typed_wrong_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, out, said = refusal(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said.startswith("error: ")
    assert message in said


def test_an_untrusted_bundle_is_a_refusal_with_its_own_exit_code(
    here: Path, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    address = make_bundle("3", 3, signers=(generate_key(),))
    code, out, said = refusal(capsys, "publish", f"oci:{address.layout.folder}:digits:3@cloud")
    assert (code, out, here.is_dir()) == (5, "", True)
    assert "[publish.signature]" in said


def test_publish_takes_references_of_a_store_and_prints_what_was_published(
    here: Path, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle("3", 3)
    layout = make_bundle("3", 3, target="edge-arm").layout
    published = result(
        capsys, "publish", "digits:3@cloud", "digits:3@edge-arm", "--store", str(layout.folder), "-w", str(here)
    )
    assert [one["reference"] for one in published] == ["digits:3@cloud", "digits:3@edge-arm"]
    assert [one["target"] for one in result(capsys, "releases", "digits")] == ["cloud", "edge-arm"]


def test_a_store_elsewhere_needs_no_reference_when_it_holds_one_bundle(
    here: Path, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"oci:{make_bundle('3', 3).layout.folder}"
    assert result(capsys, "publish", store, "-w", str(here))[0]["reference"] == "digits:3@cloud"
    make_bundle("3", 3, target="edge-arm")
    code, _, said = refusal(capsys, "publish", store)
    assert code == 2
    assert "it holds: digits:3@cloud, digits:3@edge-arm" in said


def test_assign_checks_that_version_and_device_are_there(
    workspace: Workspace,
    here: Path,
    database: Store,
    make_bundle: MakeBundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert here.is_dir()
    publish(workspace, database, [make_bundle("3", 3)], now=1.0)
    database.devices.enroll("cam", "", targets=("cloud",), labels={"site": "north"}, now=1.0)
    assert refusal(capsys, "assign", "digits:9", "--to", "all")[0] == 2
    assert "no device 'hub'" in refusal(capsys, "assign", "digits", "--to", "hub")[2]
    assert result(capsys, "assign", "digits:3", "--to", "site=north")["devices"] == ["cam"]
    assert "no device matches yet" in refusal(capsys, "assign", "digits", "--to", "site=south")[2]
    assert [(wish.version, wish.selector) for wish in database.wishes.all()] == [
        ("3", "site=north"),
        (None, "site=south"),
    ]


def test_audit_verify_finds_a_change(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = result(capsys, "audit", "verify")["last"]
    assert result(capsys, "audit", "verify", "--known", last)["entries"] == 1
    (here / "audit.jsonl").write_bytes((here / "audit.jsonl").read_bytes().replace(b"init", b"INIT"))
    assert refusal(capsys, "audit", "verify", "--known", last)[0] == 5


def test_renewing_makes_a_new_root(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["renew"]) == 0
    assert capsys.readouterr().out.startswith("root: ")
    assert (here / "repository" / "metadata" / "2.root.json").is_file()


def test_the_configuration_that_init_writes_is_explained_and_valid(here: Path) -> None:
    assert tomllib.loads((here / "fleet.toml").read_text())["keys"] == {
        "offline": "keys/offline",
        "online": "keys/online",
    }
