"""What targets say of a model as SARIF 2.1.0 (OASIS, March 2020), for the code scanning of GitHub and Azure DevOps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packager.jobs.explanation import Explained, Obstacle

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_log(explained: Sequence[Explained], *, model: str, version: str) -> dict[str, object]:
    """The log: one run, a rule for each code, a result for each obstacle.

    `model` is the URI of the model, relative to the project where it is inside; `version` is packtrain's.
    """
    codes = sorted({obstacle.code for entry in explained for obstacle in entry.obstacles})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "packtrain",
                        "semanticVersion": version,
                        "rules": [_rule(code) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "artifacts": [{"location": {"uri": model}}],
                "results": list(_results(explained, codes, model)),
            }
        ],
    }


def _rule(code: str) -> dict[str, object]:
    target = code.partition(".")[0]
    text = (
        f"Target {target} can't take this operator, or not so."
        if code.endswith(".unsupported")
        else f"The model can't be brought to the form that a target takes ({code})."
    )
    return {"id": code, "shortDescription": {"text": text}, "defaultConfiguration": {"level": "error"}}


def _results(explained: Iterable[Explained], codes: Sequence[str], model: str) -> Iterable[dict[str, object]]:
    for entry in explained:
        for obstacle in entry.obstacles:
            where: dict[str, object] = {
                "physicalLocation": {"artifactLocation": {"uri": model, "index": 0}},
            }
            if obstacle.node:
                where["logicalLocations"] = [
                    {"name": obstacle.node, "fullyQualifiedName": f"{model}#{obstacle.node}", "kind": "element"}
                ]
            yield {
                "ruleId": obstacle.code,
                "ruleIndex": codes.index(obstacle.code),
                "kind": "fail",
                "level": "error",
                "message": {"text": obstacle_text(entry.target, obstacle)},
                "locations": [where],
                "partialFingerprints": {"obstacle/v1": _fingerprint(entry.target, obstacle)},
                "properties": {"target": entry.target, "operator": obstacle.operator, "hint": obstacle.hint},
            }


def obstacle_text(target: str, obstacle: Obstacle) -> str:
    """One obstacle in a line."""
    node = f"{obstacle.node} ({obstacle.operator}): " if obstacle.node else ""
    hint = f"; {obstacle.hint}" if obstacle.hint else ""
    return f"{target}: {node}{obstacle.reason}{hint}"


def _fingerprint(target: str, obstacle: Obstacle) -> str:
    """What tells a result from others, and is the same in the next run."""
    known = [target, obstacle.code, obstacle.node, obstacle.operator]
    return digest_bytes(canonical_json(known)).removeprefix("sha256:")[:32]
