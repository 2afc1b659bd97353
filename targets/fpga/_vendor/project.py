"""The project as hls4ml writes it, without what differs from one run to the next."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
from typing import TYPE_CHECKING, Any

from targets._target import TargetError
from targets.fpga._vendor.vendors import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from qonnx.core.modelwrapper import ModelWrapper

    from targets.fpga._vendor.options import Hls, Vendor
    from targets.fpga._vendor.vendors import Compiler

_STAMP = "packtrain"
"""Instead of hls4ml's random one, which stands in names of files and classes."""
_DEFAULT = "fixed<16,6>"
_DROPPED = ("hls4ml_config.yml", "build_lib.sh", "tb_data")
"""Of what is written: the first holds this machine's paths, the others are hls4ml's own way to run the project."""
_SMARTHLS = "/opt/microchip/SmartHLS"
"""Where hls4ml supposes it; only its own emulation looks there."""
_VITIS_STEPS = ("reset 1", "csim 0", "synth 1", "cosim 0", "validation 0", "export 0", "vsynth 0", "fifo_opt 0")


def write_project(
    model: ModelWrapper, vendor: Vendor, compiler: Compiler, options: Hls, types: dict[str, dict[str, str]], out: Path
) -> None:
    """Write the vendor's project into `out`, a folder that does not exist; `types` are those of `layer_types`.

    Raises:
        TargetError: hls4ml can't write it (``fpga.vendor.project``).
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            graph = _read(model, compiler, options, types, out)
            _refuse_missing(graph, compiler)
            graph.config.config["Stamp"] = _STAMP
            if vendor == "libero":
                from targets.fpga._vendor.libero import write_libero

                write_libero(graph)
            else:
                graph.write()
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(
            "fpga.vendor.project",
            f"hls4ml can't write the project for {compiler.title}: {error}",
            hint='io = "stream", another vendor, or the open flow, without `vendor`',
        ) from error
    out.with_name(f"{out.name}.tar.gz").unlink(missing_ok=True)
    for name in _DROPPED:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if vendor == "vitis":
        steps = "".join(f"    {step}\n" for step in _VITIS_STEPS)
        (out / "build_opt.tcl").write_text(f"array set opt {{\n{steps}}}\n")


def _read(model: ModelWrapper, compiler: Compiler, options: Hls, types: dict[str, dict[str, str]], out: Path) -> Any:  # noqa: ANN401 - hls4ml ships no types
    from hls4ml.converters import convert_from_onnx_model
    from hls4ml.utils.config import config_from_onnx_model

    config = config_from_onnx_model(
        model,
        granularity="name",
        backend=compiler.backend,
        default_precision=options.precision or _DEFAULT,
        default_reuse_factor=options.reuse,
    )
    config["Model"]["Strategy"] = options.strategy.capitalize()
    for layer, parts in types.items():
        config["LayerName"].setdefault(layer, {}).setdefault("Precision", {}).update(parts)
    further: dict[str, object] = {"part": options.part} if options.part else {}
    if compiler.backend == "Libero":
        further["smarthls_path"] = _SMARTHLS
    if compiler.backend != "Catapult":  # which takes no such argument, and packs the project nevertheless
        further["write_tar"] = False
    return convert_from_onnx_model(
        model,
        hls_config=config,
        output_dir=str(out),
        project_name=PROJECT,
        backend=compiler.backend,
        clock_period=1000 / options.clock_mhz,
        io_type=f"io_{options.io}",
        **further,
    )


def _refuse_missing(graph: Any, compiler: Compiler) -> None:  # noqa: ANN401 - hls4ml ships no types
    """See that every layer becomes code: hls4ml leaves out, without a word, what a backend has no template for.

    Raises:
        TargetError: some do not.
    """
    free = {"Input"} if compiler.backend == "Libero" else {"Input", "Reshape"}
    missing = [
        f"{layer.name} ({layer.class_name})"
        for layer in graph.get_layers()
        if layer.class_name not in free and not layer.get_attr("function_cpp")
    ]
    if missing:
        raise TargetError(
            "fpga.vendor.layers",
            f"hls4ml has no code for {compiler.title} of {', '.join(missing)}",
            hint="another vendor, or the open flow, without `vendor`",
        )
