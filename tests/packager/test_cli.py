from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.packager.conftest import Pack

PACK = (sys.executable, "-c", "import sys; from packager.cli import main; sys.exit(main())")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--taget", "cloud"], "did you mean '--target'?"),
        (["inspct"], "did you mean 'inspect'?"),
        (["build"], "pack without a command builds"),
        (["keys", "genrate"], "did you mean 'generate'?"),
        (["--output", "yaml"], "pack --help shows what it takes"),
        (["verify"], "pack verify --help shows what it takes"),
        (["plan", "--keep-going"], "pack plan --help shows what it takes"),
    ],
)
def test_what_was_typed_wrong_exits_2_with_an_error_and_a_hint(pack: Pack, arguments: Sequence[str], hint: str) -> None:
    ran = pack(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    error, hinted = ran.err.splitlines()
    assert error.startswith("error: ")
    assert error.endswith(" [usage]")
    assert hinted == f"hint: {hint}"


def test_an_option_of_the_build_before_a_command_is_refused_and_not_lost(pack: Pack) -> None:
    ran = pack("--target", "cloud", "plan")
    assert ran.code == 2
    assert ran.err.splitlines()[1] == "hint: if the command takes it: pack plan --target ..."


def test_a_folder_without_pack_toml_exits_2_and_names_pack_init(pack: Pack) -> None:
    ran = pack()
    assert ran.code == 2
    assert "[config.missing]" in ran.err
    assert "pack init" in ran.err


def test_a_wrong_field_is_named_by_its_path(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('[model]\nname = "m"\nsorce = "m.onnx"\n[targets.cloud]\n')
    ran = pack("plan")
    assert ran.code == 2
    assert ran.err == "error: unknown field 'model.sorce' [config.field]\nhint: did you mean 'source'?\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cluod", "did you mean 'cloud'?"),
        ("edge-rm", "did you mean 'edge-arm'?"),
        ("edge-arm", "add a table [targets.edge-arm]"),
    ],
)
def test_a_target_that_is_not_in_pack_toml_says_what_was_perhaps_meant(
    pack: Pack, tmp_path: Path, name: str, hint: str
) -> None:
    (tmp_path / "pack.toml").write_text('[model]\nname = "m"\nsource = "m.onnx"\n[targets.cloud]\n')
    ran = pack("-t", name)
    assert ran.code == 2
    assert ran.err.splitlines()[1] == f"hint: {hint}"


def test_without_a_signing_key_nothing_is_built_and_the_exit_code_is_5(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('[model]\nname = "m"\nsource = "m.onnx"\n[targets.cloud]\n')
    ran = pack()
    assert ran.code == 5
    assert "pack keys generate makes one; --unsigned builds without" in ran.err
    assert not (tmp_path / ".pack").exists()


def test_a_bug_is_one_line_and_exits_1(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by nobody")

    monkeypatch.setattr("packager.availability.targets_available", broken)
    ran = pack("targets")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "error: sorry, this is a bug in pack: ZeroDivisionError: by nobody [bug]",
        "hint: PACK_DEBUG=1 shows the traceback that a report needs",
    ]


def test_a_bug_shows_its_traceback_where_that_is_asked_for(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("packager.availability.targets_available", broken)
    monkeypatch.setenv("PACK_DEBUG", "1")
    assert "in broken" in pack("targets").err


def test_an_interruption_exits_130(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("packager.availability.targets_available", interrupted)
    assert pack("targets").code == 130


def test_the_shell_completes_commands_and_targets_and_is_told_that_all_is_well() -> None:
    for words, completed in (("pack pla", "plan"), ("pack --target win", "winml")):
        environment = {"_PACK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        ran = subprocess.run(PACK, capture_output=True, text=True, check=True, env=os.environ | environment)
        assert ran.stdout.split() == [completed]


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as stdout:  # noqa: PTH123 - a file descriptor
        ran = subprocess.run([*PACK, "schema"], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert ran.stderr == b""
    assert ran.returncode == 141


def test_a_full_disk_is_not_called_a_bug() -> None:
    with open("/dev/full", "wb") as stdout:  # noqa: PTH123 - a device
        ran = subprocess.run([*PACK, "schema"], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 2
    assert b"no space left on device [disk]" in ran.stderr


def test_targets_as_tags_are_their_names(pack: Pack) -> None:
    ran = pack("targets", "--output", "tag")
    assert ran.code == 0
    assert "cloud" in ran.out.splitlines()


def test_targets_tell_of_their_toolchains(pack: Pack) -> None:
    (cloud,) = (entry for entry in pack("targets", "--output", "json").document["targets"] if entry["name"] == "cloud")
    assert cloud["available"] is True
    assert set(cloud["distributions"]) == {"onnx", "onnxruntime", "numpy"}
    assert cloud["extra"] == "pack"
