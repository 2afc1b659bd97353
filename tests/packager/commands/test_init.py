from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.conftest import Pack


def test_init_names_the_model_after_the_folder(pack: Pack, tmp_path: Path) -> None:
    ran = pack("init", "Wine Quality", "--output", "json")
    assert ran.document["name"] == "wine-quality"
    assert 'source = "models:/wine-quality@candidate"' in (tmp_path / "Wine Quality" / "pack.toml").read_text()
    assert 'NAME = "wine-quality"' in (tmp_path / "Wine Quality" / "train.py").read_text()


def test_init_overwrites_nothing_and_then_writes_nothing(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine\n")
    ran = pack("init")
    assert ran.code == 2
    assert "[init.exists]" in ran.err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["train.py"]
    assert (tmp_path / "train.py").read_text() == "mine\n"


def test_init_refuses_a_name_that_no_model_may_have(pack: Pack, tmp_path: Path) -> None:
    ran = pack("init", tmp_path / "new", "--name", "My Model")
    assert ran.code == 2
    assert "hint: --name my-model" in ran.err


def test_the_pipelines_are_yaml_that_train_and_then_pack(pack: Pack, tmp_path: Path) -> None:
    pack("init", tmp_path)
    for place, key in ((".github/workflows/pack.yml", "run"), ("azure-pipelines.yml", "script")):
        document = yaml.safe_load((tmp_path / place).read_text())
        steps = document["steps"] if "steps" in document else document["jobs"]["pack"]["steps"]
        commands = "\n".join(step[key] for step in steps if key in step)
        assert commands.index("python train.py") < commands.index("pack --output json")


@pytest.mark.slow
def test_what_init_writes_trains_registers_and_packs_as_it_stands(pack: Pack, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    pack("init", folder)
    trained = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert trained.stdout.startswith("registered digits 1 as the candidate, accuracy 9")
    pack("keys", "generate")
    ran = pack("-C", folder, "-o", "json")
    assert ran.code == 0, ran.err
    (bundle,) = ran.document["bundles"]
    assert bundle["reference"] == "digits:1@cloud"
    assert bundle["scores"]["source"] > 0.95
    assert {gate["name"]: gate["verdict"] for gate in bundle["gates"]} == dict.fromkeys(
        ("parity", "accuracy", "size"), "passed"
    )
    manifest = pack("inspect", bundle["reference"], "-C", folder, "-o", "json").document
    assert manifest["lineage"]["run"]
    assert list(manifest["lineage"]["datasets"]) == ["training"]
