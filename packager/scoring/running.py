"""One run: chunks go out, parts come back, and what stands there already is not done again."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

from packager.errors import ConfigError
from packager.fingerprints import versions
from packager.scoring.calling import Scorer, score_packed
from packager.scoring.reading import Source
from packager.scoring.writing import Output, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from packager.opening import Opened, Packed
    from packager.scoring.calling import Array, Scored
    from packager.scoring.reading import Chunk

_AHEAD = 3
"""Chunks that wait for each worker, so that none is idle while the next is read."""


class Order(NamedTuple):
    """What to score, and how."""

    source: Path
    output: Path
    columns: Sequence[str]
    """Of the features; none: found by name."""
    keep: Sequence[str]
    """Columns that go to the output as they are."""
    rows: int
    """Of a chunk, and of a part."""
    workers: int
    """Processes; 1: this one."""
    cluster: str
    """``dask://HOST:PORT``, or empty."""


class Summary(NamedTuple):
    """What came of it."""

    rows: int
    failed: int
    resumed: int
    """Rows of parts that stood there already."""


class _Future(Protocol):
    def result(self) -> Scored: ...


class Executor(Protocol):
    """What runs chunks elsewhere."""

    workers: int

    def submit(self, inputs: dict[str, Array]) -> _Future:
        """Begin with a chunk."""
        ...

    def close(self) -> None:
        """Stop; nothing that was submitted is waited for."""
        ...


def score(order: Order, opened: Opened, told: Callable[[int, int | None], None]) -> Summary:
    """Score all rows of the source; `told` is given rows done and rows in all, where that is known.

    Raises:
        ConfigError: the source or the output can't be had.
    """
    source = Source(order.source, opened.manifest, columns=order.columns, keep=order.keep)
    run = Run(
        bundle=opened.digest,
        source=source.identity(),
        columns=list(order.columns),
        keep=list(order.keep),
        rows=order.rows,
    )
    output = Output(order.output, opened.manifest, run)
    done = output.done()
    total = source.count()
    chunks = itertools.islice(enumerate(source.chunks(order.rows)), done, None)
    finished = 0
    for number, chunk, scored in _scored(order, opened, chunks):
        output.write(number, chunk, scored)
        finished = chunk.start + chunk.rows
        told(finished, total)
    rows, failed = output.join()
    return Summary(rows, failed, min(done * order.rows, rows))


def _scored(order: Order, opened: Opened, chunks: Iterator[tuple[int, Chunk]]) -> Iterator[tuple[int, Chunk, Scored]]:
    """The chunks in their order, each with its outputs."""
    if not order.cluster and order.workers == 1:
        scorer = Scorer(opened.manifest, opened.runners[0])
        for number, chunk in chunks:
            yield number, chunk, scorer.score(chunk.inputs)
        return
    executor = _open_executor(order, opened)
    try:
        going: deque[tuple[int, Chunk, _Future]] = deque()
        for number, chunk in chunks:
            going.append((number, chunk, executor.submit(chunk.inputs)))
            if len(going) >= _AHEAD * executor.workers:
                first, given, future = going.popleft()
                yield first, given, future.result()
        for number, chunk, future in going:
            yield number, chunk, future.result()
    finally:
        executor.close()


def _open_executor(order: Order, opened: Opened) -> Executor:
    scheme, _, address = order.cluster.partition("://")
    packed = opened.packed()
    if not order.cluster:
        return _Processes(packed, order.workers)
    if scheme == "dask" and address:
        return _Dask(packed, address)
    raise ConfigError("usage", f"--cluster: expected dask://HOST:PORT, got '{order.cluster}'")


_PACKED: list[Packed] = []
"""In a process of the pool: the bundle that it was started for."""


def _begin(packed: Packed) -> None:
    _PACKED.append(packed)


def _score(inputs: dict[str, Array]) -> Scored:
    return score_packed(_PACKED[0], inputs)


class _Processes:
    """Processes on this machine, started afresh: what this one has loaded may not survive a fork."""

    def __init__(self, packed: Packed, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(packed,)
        )

    def submit(self, inputs: dict[str, Array]) -> _Future:
        return self._pool.submit(_score, inputs)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Dask:
    """Workers of a dask.distributed cluster, which need packtrain and the runtime, not our files."""

    def __init__(self, packed: Packed, address: str) -> None:
        versions(("distributed",), extra="dask")
        import distributed

        try:
            self._client = distributed.Client(f"tcp://{address}", timeout=20)
        except (OSError, TimeoutError) as error:
            raise ConfigError("score.cluster", f"no dask scheduler answers at {address}: {error}") from error
        self.workers = max(len(self._client.nthreads()), 1)
        self._packed = self._client.scatter(packed, broadcast=True, hash=False)

    def submit(self, inputs: dict[str, Array]) -> _Future:
        future: _Future = self._client.submit(score_packed, self._packed, inputs, pure=False)
        return future

    def close(self) -> None:
        self._client.close()
