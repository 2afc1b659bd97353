"""Imports damaged files as a worker would, in processes forked from one that has the libraries loaded.

``python -m bench.fuzzing.runner JOB`` reads a `Job` as JSON and writes one `Verdict` a line to stdout. A process takes
a batch of files; when a file ends it, or takes too long, the next process goes on behind that file.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bench.fuzzing.mutations import mutate
from manifests.errors import ManifestError
from manifests.manifest import TaskSection
from packager.errors import PackError
from packager.importers.detection import detect_framework
from packager.jobs import importation
from packager.samples import DataFiles
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH = 100
_PATIENCE = 10
"""How many times the limit may pass by the clock while the process does nothing."""
_FRAMES = 12
"""Lines of a traceback that are kept."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to damage, and how often."""

    framework: str
    form: Literal["binary", "json", "message", "offsets", "text", "zip"]
    seeds: tuple[str, ...]
    """Whole files; of a folder, the one file that is damaged, its neighbours stay."""
    member: str = ""
    """Of a folder: the path in it of the file that is damaged."""
    modules: tuple[str, ...]
    """Loaded before anything is forked."""
    prepare: str = ""
    """``module:function`` to call once after that."""
    first: int
    count: int
    seconds: float
    """Of one file, of the processor's time."""
    memory: int
    """That a process may allocate, in bytes."""
    trusted: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file; its number is also the seed of its damage."""

    number: int
    outcome: Literal["imported", "refused", "memory", "crashed", "traceback", "hang"]
    code: str = ""
    """Of the refusal, or the exception's name, or the signal's."""
    detail: str = ""
    resident: int = 0
    """The most that the process had in memory so far, in bytes."""


def damaged(job: Job, number: int) -> tuple[Path, bytes]:
    """The seed's place, and the content of the file, which depends on nothing but the job's seeds and the number."""
    source = random.Random(number)  # noqa: S311 - a repeatable choice, no secret
    seed = Path(source.choice(job.seeds))
    data = (seed / job.member if job.member else seed).read_bytes()
    return seed, mutate(data, job.form, source)


def run(job: Job) -> Iterator[Verdict]:
    """The verdicts, in order."""
    for module in job.modules:
        importlib.import_module(module)
    if job.prepare:
        pkgutil.resolve_name(job.prepare)()
    number, end = job.first, job.first + job.count
    while number < end:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _take_batch(job, number, min(end, number + _BATCH), writing)
            finally:
                os._exit(1)  # whatever happened: nobody goes on as a second parent
        os.close(writing)
        for verdict in _listen(job, child, reading, number):
            yield verdict
            number = verdict.number + 1
        os.close(reading)


def _listen(job: Job, child: int, pipe: int, number: int) -> Iterator[Verdict]:
    """What the child says; and, where it ends before its time, what ended it."""
    rest = b""
    stopped = False
    worked, waited = _processor_seconds(child), time.monotonic()
    while True:
        ready, _, _ = select.select([pipe], [], [], job.seconds)
        if not ready:
            # A busy machine gives little of itself to whoever is nice: it is the work that counts, and then the clock.
            idle = _processor_seconds(child) - worked < job.seconds
            if idle and time.monotonic() - waited < _PATIENCE * job.seconds:
                continue
            os.kill(child, signal.SIGKILL)
            stopped = True
            break
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        worked, waited = _processor_seconds(child), time.monotonic()
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            verdict = msgspec.json.decode(line, type=Verdict)
            yield verdict
            number = verdict.number + 1
    _, status, usage = os.wait4(child, 0)
    resident = usage.ru_maxrss * 1024
    if stopped:
        yield Verdict(number=number, outcome="hang", code=f"{job.seconds:g} s", resident=resident)
    elif os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        yield Verdict(number=number, outcome="crashed", code=name, resident=resident)
    elif os.WEXITSTATUS(status):
        yield Verdict(number=number, outcome="crashed", code=f"exit {os.WEXITSTATUS(status)}", resident=resident)


def _processor_seconds(process: int) -> float:
    """What the process has worked so far (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _take_batch(job: Job, first: int, end: int, pipe: int) -> None:
    """Import one file after the other; never returns."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(first, end):
            verdict = _take(job, number, Path(scratch) / str(number))
            os.write(pipe, msgspec.json.encode(verdict) + b"\n")
    os._exit(0)


def _take(job: Job, number: int, folder: Path) -> Verdict:
    seed, data = damaged(job, number)
    folder.mkdir()
    path = folder / seed.name
    if job.member:
        _link(seed, path, job.member)
        (path / job.member).write_bytes(data)
    else:
        path.write_bytes(data)
    outcome, code, detail = _import(job, path, folder)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Verdict(number=number, outcome=outcome, code=code, detail=detail, resident=resident)


def _link(seed: Path, path: Path, member: str) -> None:
    """The folder again, with the same files but one."""
    for entry in sorted(seed.rglob("*")):
        place = path / entry.relative_to(seed)
        if entry.is_file() and entry.relative_to(seed).as_posix() != member:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(entry)
    (path / member).parent.mkdir(parents=True, exist_ok=True)


def _import(
    job: Job, path: Path, folder: Path
) -> tuple[Literal["imported", "refused", "memory", "traceback"], str, str]:
    out = folder / "out"
    out.mkdir()
    try:
        framework, found = detect_framework(path)
        order = importation.Order(
            framework=framework, path=str(found), trusted=job.trusted, task=TaskSection(), data=DataFiles()
        )
        importation.run(order, out)
    except (PackError, TargetError, ManifestError) as error:
        return "refused", error.code, str(error)[:200]
    except MemoryError:
        return "memory", "MemoryError", ""
    except BaseException as error:  # noqa: BLE001 - what nobody expected is what is looked for
        lines = traceback.format_exc().strip().splitlines()[-_FRAMES:]
        return "traceback", type(error).__name__, "\n".join(lines)
    return "imported", "", ""


def main() -> None:
    """Do the job whose file is named on the command line."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    begun = time.monotonic()
    for verdict in run(job):
        sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")
        sys.stdout.buffer.flush()
    print(f"{job.count / (time.monotonic() - begun):.1f} files a second", file=sys.stderr)


if __name__ == "__main__":
    main()
