"""Hostile, broken and harmless pickles through packtrain's machine, picklescan and fickling, side by side.

``uv run --with picklescan==1.0.5 --with fickling==0.1.12 python -m bench.pickle_scanners``: neither is installed here.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from packager.errors import ConversionError
from packager.importers._pickles import scan_pickle
from tests.packager.importers.hostile_pickles import BROKEN, NAMED

if TYPE_CHECKING:
    from collections.abc import Callable


def ours(path: Path) -> str:
    """What packtrain says."""
    try:
        return "named" if scan_pickle(path).foreign else "harmless"
    except ConversionError:
        return "refused"


def theirs_picklescan(path: Path) -> str:
    """What picklescan says."""
    from picklescan.scanner import scan_file_path

    found = scan_file_path(str(path))
    if found.issues_count:
        return "named"
    return "refused" if found.scan_err else "harmless"


def theirs_fickling(path: Path) -> str:
    """What fickling says; an exception of any kind is a refusal."""
    from fickling.analysis import Severity, check_safety
    from fickling.fickle import StackedPickle

    try:
        with path.open("rb") as stream:
            parts = StackedPickle.load(stream, fail_on_decode_error=False)
        worst = max(check_safety(part).severity for part in parts)
    except Exception:  # noqa: BLE001 - its own errors have no class in common
        return "refused"
    return "harmless" if worst == Severity.LIKELY_SAFE else "named"


def harmless() -> dict[str, bytes]:
    """Two models as joblib stores them."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(100, 4)), random.integers(0, 2, 100)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in (RandomForestClassifier(10), HistGradientBoostingClassifier(max_iter=5)):
            for compress in (0, 3, ("gzip", 3)):
                path = Path(folder) / "model"
                joblib.dump(model.fit(x, y), path, compress=compress)
                found[f"{type(model).__name__} {compress}"] = path.read_bytes()
    return found


def main() -> None:
    """Print what each says of each kind of file."""
    logging.disable(logging.CRITICAL)
    kinds = {
        "would run something": {name: one.data for name, one in NAMED.items()},
        "broken": {name: one.data for name, one in BROKEN.items()},
        "harmless": harmless(),
    }
    scanners: dict[str, Callable[[Path], str]] = {
        "packtrain": ours, "picklescan": theirs_picklescan, "fickling": theirs_fickling,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pkl"
        for kind, files in kinds.items():
            said: dict[str, Counter[str]] = {name: Counter() for name in scanners}
            for data in files.values():
                path.write_bytes(data)
                for name, scanner in scanners.items():
                    said[name][scanner(path)] += 1
            for name, counts in said.items():
                print(f"{kind} ({len(files)}), {name}: {dict(counts)}")


if __name__ == "__main__":
    main()
