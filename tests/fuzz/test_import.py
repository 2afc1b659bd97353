"""A share of what `make fuzz-import` does: damaged model files of every kind that our own interpreter reads."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bench.fuzz_import import CLEAN, MEMORY, fuzz
from bench.fuzzing.mutations import mutate
from bench.fuzzing.seeds import KINDS
from packager.importers.detection import open_importer
from packager.registry import installed_version

if TYPE_CHECKING:
    from pathlib import Path

FILES = 100
HERE = [
    kind
    for kind, described in KINDS.items()
    if all(installed_version(name) for name in open_importer(described.framework).DISTRIBUTIONS)
]


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.mark.parametrize("kind", HERE)
def test_a_damaged_file_ends_in_a_model_or_a_clean_error(kind: str, seeds: Path) -> None:
    found = fuzz(kind, FILES, folder=seeds)
    assert found.unclean == ()
    assert sum(found.outcomes.values()) == FILES
    assert set(found.outcomes) <= CLEAN
    assert found.outcomes["refused"] > 0
    assert found.resident < MEMORY


def test_the_damage_of_a_number_is_always_the_same() -> None:
    data = bytes(range(256)) * 4
    for form in ("binary", "json", "message", "offsets", "text", "zip"):
        first, again = (mutate(data, form, random.Random(7)) for _ in range(2))  # noqa: S311 - a repeatable choice
        assert first == again
        assert first != data
