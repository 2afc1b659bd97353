from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from packager.availability import availability, require, targets_available
from packager.errors import ConfigError, ExitCode, ToolchainError
from packager.registry import find_target, registrations, source_of
from targets._target import Toolchain, toolchain_of

if TYPE_CHECKING:
    from targets._target import Target

FAKES = Path(__file__).parent.parent / "fakes" / "plugin"


def test_a_file_or_folder_among_the_targets_registers_itself_by_its_name() -> None:
    found = registrations()
    assert found["cloud"].module == "targets.cloud"
    assert found["edge-arm"].module == "targets.edge_arm"
    assert not [name for name in found if name.startswith(("_", "-"))]


def test_a_distribution_brings_its_targets_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "null" not in registrations()
    monkeypatch.syspath_prepend(str(FAKES))
    registration, target = find_target("null")
    assert target.summary == "nothing: for tests"
    assert source_of(registration) == FAKES / "null_target.py"


def test_two_targets_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    described = tmp_path / "thief-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[packtrain.targets]\ncloud = thief:target\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="two targets go by the name 'cloud'"):
        registrations()


def test_each_target_says_whether_its_toolchain_is_here() -> None:
    states = {state.name: state for state in targets_available()}
    assert states["cloud"].available
    assert states["cloud"].distributions["onnxruntime"] is not None


def test_a_missing_toolchain_is_named_with_how_to_get_it() -> None:
    class Elsewhere:
        name = "elsewhere"
        summary = ""
        toolchain = Toolchain(
            distributions=("numpy", "no-such-distribution"),
            executables=("no-such-program",),
            extra="elsewhere",
            hint="see its vendor",
        )

    state = availability(Elsewhere())
    assert not state.available
    assert state.executables == {"no-such-program": False}
    with pytest.raises(ToolchainError, match="no-such-distribution, no-such-program") as caught:
        require(Elsewhere())
    assert caught.value.hint == "pip install 'packtrain[elsewhere]'; see its vendor"
    assert caught.value.exit_code == ExitCode.TOOLCHAIN


def test_a_target_may_need_another_toolchain_for_other_options() -> None:
    class Either:
        name = "either"
        summary = ""
        toolchain = Toolchain(distributions=("numpy",))

        def toolchain_for(self, options: msgspec.Struct) -> Toolchain:
            return Toolchain(distributions=("no-such-distribution",), environment="hls4ml", hint=type(options).__name__)

    target = cast("Target", Either())
    require(target)
    with pytest.raises(ToolchainError, match="needs no-such-distribution") as caught:
        require(target, toolchain_of(target, msgspec.defstruct("Options", [])()))
    assert caught.value.hint == "pack toolchain install hls4ml"
    assert toolchain_of(find_target("cloud")[1], msgspec.defstruct("Options", [])()).extra == "pack"
