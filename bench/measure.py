"""Processes measured from outside: wall and CPU seconds of whole commands, memory of running ones."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def time_command(command: list[str], *, folder: Path, environment: dict[str, str], runs: int) -> dict[str, float]:
    """Median wall and CPU seconds of a command that must succeed, its children included, after one run to warm up."""
    walls, cpus = [], []
    for run in range(runs + 1):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, check=True)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if run:
            walls.append(wall)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall_seconds": statistics.median(walls), "cpu_seconds": statistics.median(cpus)}


def memory(process: int) -> dict[str, float]:
    """Resident and proportional set size of a process, in MiB (proc(5), smaps_rollup)."""
    sizes = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes, _ = line.split()
        sizes[name.rstrip(":")] = int(kilobytes) / 1024
    return {"rss_mib": sizes["Rss"], "pss_mib": sizes["Pss"]}


def folder_size(folder: Path) -> float:
    """MB of the files below a folder, a file with several names once."""
    seen = {
        (entry.stat().st_dev, entry.stat().st_ino): entry.stat().st_size
        for entry in folder.rglob("*")
        if entry.is_file()
    }
    return sum(seen.values()) / 1e6


def write_results(name: str, figures: dict[str, object], distributions: list[str]) -> Path:
    """Write the figures with the versions that they are of."""
    versions = {distribution: importlib.metadata.version(distribution) for distribution in distributions}
    document = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": versions,
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return path
