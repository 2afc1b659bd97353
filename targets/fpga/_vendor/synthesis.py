"""The vendor's compiler: started where it is, its report read, and what it says held against what was asked."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from targets._target import TargetError
from targets.fpga._vendor.vendors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from targets.fpga._vendor.options import Hls, Vendor
    from targets.fpga._vendor.vendors import Compiler

_TAIL = 15
_VERSION_SECONDS = 60
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")
_UNIT = re.compile(r"(?P<number>[0-9.,]+)\s*(?:MHz|ns|cycles)?")


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the vendor's compiler says of the design."""

    tool: str
    version: str
    """As it prints it; empty: it prints none."""
    clock_goal_mhz: float
    clock_mhz: float | None = None
    """What it says the design reaches."""
    latency_cycles: int | None = None
    interval_cycles: int | None = None
    """From one input to the next."""
    used: dict[str, int] = {}
    """By the vendor's names, in lower case."""
    available: dict[str, int] = {}


def synthesise(vendor: Vendor, compiler: Compiler, executable: Path, project: Path, options: Hls) -> Report:
    """What the compiler makes of a copy of the project; the project itself stays as it is.

    Raises:
        TargetError: the compiler fails or takes too long (``fpga.vendor.synthesis``), it leaves no report that can be
            read (``fpga.vendor.report``), the clock is missed (``fpga.vendor.timing``), or the device is too small
            (``fpga.vendor.resources``).
    """
    with tempfile.TemporaryDirectory(prefix="packtrain-hls-") as scratch:
        folder = Path(scratch) / "project"
        shutil.copytree(project, folder)
        # hls4ml's readers of reports look there for the project's name.
        (folder / "hls4ml_config.yml").write_text(f"ProjectName: {PROJECT}\nProjectDir: null\n")
        (folder / "build_lib.sh").write_text(f"PROJECT={PROJECT}\n")
        _run(compiler, executable, folder, options)
        report = _read(vendor, compiler, folder, options, _version(executable))
    _check(report)
    return report


def _run(compiler: Compiler, executable: Path, folder: Path, options: Hls) -> None:
    command = [part.replace("{}", str(executable)) for part in compiler.commands[executable.name]]
    try:
        ran = subprocess.run(  # noqa: S603 - the vendor's compiler, found on PATH
            command, cwd=folder, capture_output=True, text=True, timeout=options.hours * 3600, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            "fpga.vendor.synthesis",
            f"{compiler.title} took more than {options.hours:g} hours",
            hint='raise `hours`, or strategy = "resource" with a higher `reuse`',
        ) from error
    if ran.returncode:
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        raise TargetError(
            "fpga.vendor.synthesis",
            f"{compiler.title} ended with exit code {ran.returncode}: " + " | ".join(lines[-_TAIL:])[-2000:],
            hint='synthesis = "never" packs the project alone',
        )


def _version(executable: Path) -> str:
    try:
        ran = subprocess.run(  # noqa: S603 - the vendor's compiler, found on PATH
            [executable, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(ran.stdout)
    return found.group() if found else ""


def _read(vendor: Vendor, compiler: Compiler, folder: Path, options: Hls, version: str) -> Report:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            read = _READERS[vendor](folder)
        report = Report(tool=compiler.title, version=version, clock_goal_mhz=options.clock_mhz, **read)
    except Exception as error:  # hls4ml's readers stop at what they don't expect in whatever way that ends
        raise _unread(compiler, f"{type(error).__name__}: {error}") from error
    if report.clock_mhz is None and not report.used:
        raise _unread(compiler, "neither a clock nor resources stand in it")
    return report


def _unread(compiler: Compiler, reason: str) -> TargetError:
    return TargetError(
        "fpga.vendor.report",
        f"the report of {compiler.title} can't be read: {reason}",
        hint='synthesis = "never" packs the project alone, and claims nothing of its synthesis',
    )


def _check(report: Report) -> None:
    if report.clock_mhz is not None and report.clock_mhz < report.clock_goal_mhz:
        raise TargetError(
            "fpga.vendor.timing",
            f"{report.tool} reaches {report.clock_mhz:.1f} MHz, expected {report.clock_goal_mhz:g} MHz",
            hint='lower `clock_mhz`, or strategy = "resource" with a higher `reuse`',
        )
    over = [
        f"{used} {name} of {report.available[name]}"
        for name, used in report.used.items()
        if name in report.available and used > report.available[name]
    ]
    if over:
        raise TargetError(
            "fpga.vendor.resources",
            f"the design does not fit: {', '.join(over)}",
            hint='strategy = "resource" with a higher `reuse`, fewer `bits`, or a larger `part`',
        )


def _vitis(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_vivado_report

    found: Mapping[str, str] = parse_vivado_report(str(folder))["CSynthesisReport"]
    names = [name.removeprefix("Available") for name in found if name.startswith("Available")]
    return {
        "clock_mhz": 1000 / float(found["EstimatedClockPeriod"]),
        "latency_cycles": _whole(found["WorstLatency"]),
        "interval_cycles": _whole(found["IntervalMax"]),
        "used": _counts({name: found[name] for name in names}),
        "available": _counts({name: found[f"Available{name}"] for name in names}),
    }


def _quartus(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_quartus_report

    found: Mapping[str, Any] = parse_quartus_report(str(folder), write_to_file=False)
    estimated = {key.removeprefix("HLS Estimate "): value for key, value in found.items() if "Estimate" in key}
    shares = {key.removesuffix("(%)").strip(): float(value) for key, value in estimated.items() if key.endswith("(%)")}
    used = _counts({key: value for key, value in estimated.items() if not key.endswith("(%)")})
    return {
        "clock_mhz": _number(found["Clock"]) if "Clock" in found else None,
        "latency_cycles": _whole(found.get("Latency (MAX)")),
        "interval_cycles": _whole(found.get("ii (MAX)")),
        "used": used,
        "available": {
            name: round(count * 100 / shares[name.upper()])
            for name, count in used.items()
            if shares.get(name.upper(), 0) > 0
        },
    }


def _oneapi(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_oneapi_report

    reports: Mapping[str, Any] = parse_oneapi_report(str(folder))
    found = reports if "HLS" in reports else next(entry for entry in reports.values() if "HLS" in entry)
    clock = found.get("Quartus", {}).get("fmax", found["Loop"]["worstFrequency"])
    return {
        "clock_mhz": _number(clock),
        "latency_cycles": _whole(found["Loop"]["worstLatency"]),
        "interval_cycles": _whole(found["Loop"]["worstII"]),
        "used": _counts(found["HLS"]["total"]),
        "available": _counts(found["HLS"]["available"]),
    }


def _catapult(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_catapult_report

    found: Mapping[str, Any] = parse_catapult_report(str(folder))
    goal = float(_period(folder))
    slack = found.get("TimingReport", {}).get("WNS")
    return {
        "clock_mhz": None if slack is None else 1000 / (goal - float(slack)),
        "used": _counts(found.get("UtilizationReport", {})),
    }


def _period(folder: Path) -> str:
    """The clock period in ns that the project asks for."""
    found = re.search(r"set hls_clock_period\s+([0-9.]+)", (folder / "build_prj.tcl").read_text())
    return found.group(1) if found else "nan"


def _libero(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_libero_report

    found: Mapping[str, Any] = parse_libero_report(str(folder))
    resources: Mapping[str, Mapping[str, str]] = found["Resource Usage"]
    return {
        "clock_mhz": _number(found["Timing Result"]["Fmax"]),
        "used": _counts({name: entry["Used"] for name, entry in resources.items()}),
        "available": _counts({name: entry["Total"] for name, entry in resources.items()}),
    }


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "vitis": _vitis,
    "quartus": _quartus,
    "oneapi": _oneapi,
    "catapult": _catapult,
    "libero": _libero,
}


def _number(text: object) -> float:
    found = _UNIT.match(str(text).strip())
    if found is None:
        raise ValueError(f"expected a number, got {text!r}")
    return float(found["number"].replace(",", ""))


def _whole(text: object) -> int | None:
    """A count of cycles; None: it is not known, or has no bound."""
    try:
        return round(_number(text))
    except ValueError:
        return None


def _counts(values: Mapping[str, object]) -> dict[str, int]:
    whole = {name.strip().lower(): _whole(value) for name, value in values.items()}
    return {name: count for name, count in whole.items() if count is not None}
