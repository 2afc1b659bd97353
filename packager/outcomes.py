"""What a build came to: its bundles on stdout, its failures on stderr, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packager.build import Built, Failed
from packager.console import Output, console, headline
from packager.errors import ExitCode
from terminal.tables import indented, pairs, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from packager.build import Outcome
    from packager.config import Project
    from packager.gates import GateResult
    from packager.jobs.importation import Importation
    from packager.measures.scores import Scores

_COLOURS = {"passed": "green", "failed": "bold red", "waived": "yellow", "no-data": "yellow"}


def report(
    project: Project, names: Sequence[str], outcomes: Sequence[Outcome], output: Output, *, key: str | None
) -> ExitCode:
    """Print what came of each target; the exit code is returned.

    `names` are the targets that were asked for, `key` is the id of the key that signed.
    """
    built = [outcome for outcome in outcomes if isinstance(outcome, Built)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    reached = {outcome.target for outcome in outcomes}
    skipped = [name for name in names if name not in reached]
    for outcome in built:
        for note in outcome.notes:
            console.warn(f"{outcome.target}: {note}")
    if output is Output.JSON:
        console.print_json(
            {
                "store": str(project.store),
                "bundles": [_built_document(outcome, key) for outcome in built],
                "failures": [_failed_document(outcome) for outcome in failed],
                "skipped": skipped,
            }
        )
    elif output is Output.TAG:
        for outcome in built:
            console.print_line(outcome.reference)
    else:
        for outcome in built:
            console.print_result(*_built_text(outcome, key))
    for failure in failed:
        _complain(failure)
    if skipped:
        console.warn(f"not built after the failure: {', '.join(skipped)}", hint="--keep-going builds what it can")
    return exit_code(failed)


def exit_code(failed: Iterable[Failed]) -> ExitCode:
    """The lowest exit code among the failures: a bug counts before a conversion, that before a gate, and so on."""
    return min((outcome.error.exit_code for outcome in failed), default=ExitCode.OK)


def _complain(outcome: Failed) -> None:
    if outcome.gates:
        from rich.text import Text

        console.print_aside(Text(outcome.target, style="bold"), indented(_gates(outcome.gates)))
    console.complain(f"{outcome.target}: {outcome.error}", code=outcome.error.code, hint=outcome.error.hint)


def _built_text(outcome: Built, key: str | None) -> Iterable[RenderableType]:
    from packager.quantities import quantity_text

    latency = outcome.latency
    rows = [
        ("imported", _imported(outcome.importation)),
        ("size", quantity_text(outcome.manifest.resources.disk_bytes, "bytes")),
        ("accuracy", _scores(outcome.scores)),
        ("latency", f"p50 {latency.p50:.3g} ms, p95 {latency.p95:.3g} ms, on this machine"),
        ("signed by", key[:16] if outcome.signed and key else "nobody"),
        ("built", "from the cache" if outcome.cached else f"in {outcome.seconds:.1f} s"),
    ]
    yield from headline(outcome.reference, outcome.digest)
    yield indented(pairs(rows))
    yield indented(_gates(outcome.gates))


def _imported(importation: Importation) -> str:
    """Nothing for ONNX: there is nobody else to ask what it predicts."""
    if importation.worst_difference is None:
        return ""
    return (
        f"from {importation.framework}, within {importation.worst_difference:.2g} of its predictions "
        f"on {importation.samples} {'samples' if importation.inputs == 'data' else 'generated samples'}"
    )


def _scores(scores: Scores | None) -> str:
    if scores is None:
        return "not measured"
    metric = "" if scores.metric == "accuracy" else "R squared "
    return f"{metric}{scores.source:.4f} -> {scores.shipped:.4f} on {scores.samples} samples"


def _gates(gates: Iterable[GateResult]) -> Table:
    from rich.text import Text

    rows = table("gate", "limit", "value", "verdict", "", right=("limit", "value"))
    for gate in gates:
        verdict = Text(gate.verdict, style=_COLOURS[gate.verdict])
        rows.add_row(
            gate.name,
            gate.limit,
            gate.measured,
            verdict,
            gate.waiver or (gate.note if gate.verdict in {"failed", "no-data"} else ""),
        )
    return rows


def _built_document(outcome: Built, key: str | None) -> dict[str, object]:
    return {
        "target": outcome.target,
        "reference": outcome.reference,
        "digest": outcome.digest,
        "key_id": key if outcome.signed else None,
        "cached": outcome.cached,
        "seconds": round(outcome.seconds, 3),
        "import": {
            "framework": outcome.importation.framework,
            "worst_difference": outcome.importation.worst_difference,
            "samples": outcome.importation.samples,
            "inputs": outcome.importation.inputs,
        },
        "scores": outcome.scores,
        "latency_ms": {"p50": outcome.latency.p50, "p95": outcome.latency.p95},
        "disk_bytes": outcome.manifest.resources.disk_bytes,
        "gates": outcome.gates,
        "notes": outcome.notes,
    }


def _failed_document(outcome: Failed) -> dict[str, object]:
    return {
        "target": outcome.target,
        "code": outcome.error.code,
        "message": str(outcome.error),
        "hint": outcome.error.hint,
        "exit_code": int(outcome.error.exit_code),
        "gates": outcome.gates,
    }
