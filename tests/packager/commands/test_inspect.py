from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from manifests.bundle import write_bundle
from manifests.fpga import FpgaSection
from manifests.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.packager.commands.conftest import Stored
    from tests.packager.conftest import Pack


def test_inspect_as_json_is_the_whole_manifest(pack: Pack, stored: Stored) -> None:
    ran = pack("inspect", "digits:3@edge-arm", "-o", "json", at=stored.project)
    assert ran.code == 0
    assert msgspec.json.decode(ran.out, type=Manifest) == stored.bundle.manifest


def test_a_bundle_is_found_by_reference_by_digest_and_in_another_store(pack: Pack, stored: Stored) -> None:
    store = stored.layout.folder
    for name in ("digits:3@edge-arm", stored.bundle.digest):
        assert pack("inspect", name, "-C", stored.project, "-o", "tag").out == "digits:3@edge-arm\n"
    for name in (f"oci:{store}", f"oci:{store}:digits:3@edge-arm"):
        assert pack("inspect", name, "-o", "tag").out == "digits:3@edge-arm\n"


def test_inspect_fits_a_terminal_of_80_columns(pack: Pack, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terminal.console._PIPE_WIDTH", 80)
    ran = pack("inspect", "digits:3@edge-arm", at=stored.project)
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    for shown in (
        stored.bundle.digest,
        "models:/digits@candidate",
        "pixels: float32 1 x 64",
        "device has room",
        "int8",
    ):
        assert shown in ran.out


def test_inspect_shows_what_a_bundle_takes_of_a_device(pack: Pack, stored: Stored) -> None:
    ran = pack("inspect", "digits:3@edge-arm", at=stored.project)
    for shown in (
        "aarch64 (with neon, faster with dotprod i8mm)",
        " of it, for tensors",
        "5 (3 FULLY_CONNECTED, 1 MUL, 1 SOFTMAX), 0 transposes left",
        "4 of 5 operations, to XNNPACK",
    ):
        assert shown in ran.out


def test_inspect_shows_a_design_on_an_fpga_and_over_what_it_was_proved(pack: Pack, stored: Stored, files: Path) -> None:
    manifest = stored.bundle.manifest
    design = FpgaSection(
        device="ecp5-25k",
        architecture="sequential",
        basis="placed",
        clock_goal_mhz=25.0,
        clock_mhz=31.27,
        seed=2,
        cells={"luts": 4100, "flip_flops": 1700},
        latency_cycles=310,
        rtl_vectors=48,
        netlist_vectors=12,
    )
    figures = msgspec.structs.replace(manifest.resources, fpga=design)
    named = msgspec.structs.replace(manifest.bundle, target="fpga")
    write_bundle(stored.layout, msgspec.structs.replace(manifest, bundle=named, resources=figures), files)
    shown = " ".join(pack("inspect", "digits:3@fpga", at=stored.project).out.split())
    assert (
        "sequential on ecp5-25k, 1,700 flip flops, 4,100 luts, 31.27 of 25 MHz, 310 cycles, placed with seed 2" in shown
    )
    assert "48 samples in RTL, 12 samples in netlist" in shown
    estimated = msgspec.structs.replace(design, basis="estimate", clock_mhz=None, seed=None, netlist_vectors=0)
    figures = msgspec.structs.replace(manifest.resources, fpga=estimated)
    write_bundle(stored.layout, msgspec.structs.replace(manifest, bundle=named, resources=figures), files)
    shown = " ".join(pack("inspect", "digits:3@fpga", at=stored.project).out.split())
    assert "25 MHz asked for, 310 cycles, estimate" in shown


def test_a_name_that_no_bundle_has_exits_2_and_says_what_there_is(pack: Pack, stored: Stored) -> None:
    ran = pack("inspect", "digits:4@edge-arm", at=stored.project)
    assert ran.code == 2
    assert ran.out == ""
    assert "digits:3@edge-arm" in ran.err


def test_a_project_that_built_nothing_yet_exits_2_and_says_so(pack: Pack) -> None:
    ran = pack("inspect", "digits:3@edge-arm")
    assert ran.code == 2
    assert "[store.empty]" in ran.err


def test_a_store_given_as_a_bundle_says_how_to_name_it(pack: Pack, stored: Stored) -> None:
    ran = pack("inspect", stored.layout.folder)
    assert ran.code == 2
    assert f"hint: oci:{stored.layout.folder}" in ran.err
