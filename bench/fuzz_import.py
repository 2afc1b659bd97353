"""Thousands of damaged model files of every kind through the real import: each ends in a model or a clean error.

``python -m bench.fuzz_import [--count N] [--first N | --resume] [KIND...]``. What is looked for: an exception that
nobody expected, a process that takes too long, one that takes more than 2 GB. What makes a framework's own library
crash is counted apart: the worker ends, and the build says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.fuzzing.runner import Job, Verdict
from bench.fuzzing.seeds import KINDS
from packager.importers.detection import open_importer
from packager.toolchains.choice import choose_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "fuzz-import.json"
MEMORY = 2_000_000_000
SECONDS = 30.0
CLEAN = frozenset({"imported", "refused", "memory", "crashed"})
"""``memory`` and ``crashed`` are errors of the build's main process too: a worker that a framework's library ends, or
that reaches its limit, ends alone."""
_SHOWN = 5
_ENOUGH = 10_000
_SLICE = 500
"""Files between two writings of the results, where it goes on from these."""


class Found(NamedTuple):
    """What became of the files of one kind."""

    outcomes: dict[str, int]
    codes: dict[str, int]
    """Of refusals, the most frequent first."""
    unclean: tuple[Verdict, ...]
    resident: int
    """The most that any process had in memory, in bytes."""
    seconds: float


class Record(msgspec.Struct, kw_only=True):
    """The same as the results have it."""

    files: int = 0
    outcomes: dict[str, int] = {}
    refusals: dict[str, int] = {}
    unclean: list[Verdict] = []
    peak_mb: int = 0
    files_per_second: float = 0.0


def fuzz(kind: str, count: int, *, first: int = 0, folder: Path) -> Found:
    """Damage `count` files of the kind, numbered from `first`; `folder` keeps the seeds."""
    interpreter = _interpreter(kind)
    seeds = folder / kind
    if not seeds.exists():
        subprocess.run([*interpreter, "-m", "bench.fuzzing.seeds", kind, str(seeds)], check=True, env=_environment())
    begun = time.monotonic()
    outcomes: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    unclean: list[Verdict] = []
    resident = 0
    for verdict in _verdicts(kind, seeds, first, count, interpreter):
        outcomes[verdict.outcome] += 1
        resident = max(resident, verdict.resident)
        if verdict.outcome == "refused":
            codes[verdict.code] += 1
        if verdict.outcome not in CLEAN or verdict.resident > MEMORY:
            unclean.append(verdict)
    return Found(
        dict(outcomes.most_common()), dict(codes.most_common()), tuple(unclean), resident, time.monotonic() - begun
    )


def _verdicts(kind: str, seeds: Path, first: int, count: int, interpreter: list[str]) -> Iterator[Verdict]:
    described = KINDS[kind]
    job = Job(
        framework=described.framework,
        form=described.form,
        seeds=tuple(str(path) for path in sorted(seeds.iterdir())),
        member=described.member,
        modules=described.modules,
        prepare=described.prepare,
        first=first,
        count=count,
        seconds=SECONDS,
        memory=MEMORY,
    )
    with tempfile.TemporaryDirectory() as name:
        order = Path(name) / "job.json"
        order.write_bytes(msgspec.json.encode(job))
        command = [*interpreter, "-m", "bench.fuzzing.runner", str(order)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            for line in process.stdout:
                yield msgspec.json.decode(line, type=Verdict)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)


def _interpreter(kind: str) -> list[str]:
    importer = open_importer(KINDS[kind].framework)
    chosen = choose_interpreter(
        importer.DISTRIBUTIONS, extra=importer.EXTRA, toolchain=getattr(importer, "TOOLCHAIN", "")
    )
    return [str(chosen.path or sys.executable)]


def _environment() -> dict[str, str]:
    # A library's threads would not outlive the fork.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | single | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def main() -> None:
    """Fuzz the kinds that are named, or all, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--count", type=int, default=_ENOUGH, help="fewer than the default are not written down")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on behind the files that the results already have")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        for kind in arguments.kinds or KINDS:
            if arguments.resume:
                failed |= _resume(kind, arguments.count, Path(name))
                continue
            found = fuzz(kind, arguments.count, first=arguments.first, folder=Path(name))
            failed |= bool(found.unclean)
            _print(kind, found)
            if arguments.count >= _ENOUGH:
                _write(kind, _record(found))
    sys.exit(failed)


def _resume(kind: str, count: int, folder: Path) -> bool:
    """Bring the results to `count` files, a slice at a time; whether anything ended uncleanly."""
    record = _recorded().get(kind, Record())
    while record.files < count:
        found = fuzz(kind, min(_SLICE, count - record.files), first=record.files, folder=folder)
        record = _joined(record, _record(found))
        _print(kind, found)
        _write(kind, record)
    return bool(record.unclean)


def _recorded() -> dict[str, Record]:
    return msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, Record]) if RESULTS.exists() else {}


def _write(kind: str, record: Record) -> None:
    # Read anew each time: another kind may have been done meanwhile.
    known = msgspec.to_builtins(_recorded() | {kind: record})
    RESULTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def _record(found: Found) -> Record:
    files = sum(found.outcomes.values())
    return Record(
        files=files,
        outcomes=found.outcomes,
        refusals=found.codes,
        unclean=list(found.unclean[:_SHOWN]),
        peak_mb=round(found.resident / 1e6),
        files_per_second=round(files / found.seconds, 1),
    )


def _joined(before: Record, after: Record) -> Record:
    files = before.files + after.files
    seconds = sum(part.files / part.files_per_second for part in (before, after) if part.files_per_second)
    return Record(
        files=files,
        outcomes=dict(Counter(before.outcomes) + Counter(after.outcomes)),
        refusals=dict(Counter(before.refusals) + Counter(after.refusals)),
        unclean=[*before.unclean, *after.unclean][:_SHOWN],
        peak_mb=max(before.peak_mb, after.peak_mb),
        files_per_second=round(files / seconds, 1) if seconds else 0.0,
    )


def _print(kind: str, found: Found) -> None:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.items())
    rate = sum(found.outcomes.values()) / found.seconds
    print(f"{kind}: {outcomes}; at most {found.resident / 1e6:.0f} MB, {rate:.0f} files a second", flush=True)
    seen: set[str] = set()
    for verdict in found.unclean:
        where = "\n".join(verdict.detail.splitlines()[-4:])
        if where not in seen and len(seen) < 3 * _SHOWN:
            print(f"  {verdict.number}: {verdict.outcome} {verdict.code} {verdict.resident / 1e6:.0f} MB\n{where}")
        seen.add(where)


if __name__ == "__main__":
    main()
