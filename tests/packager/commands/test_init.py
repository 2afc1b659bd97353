from __future__ import annotations

from typing import TYPE_CHECKING

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
