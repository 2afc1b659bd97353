from __future__ import annotations

import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from packager.errors import ConversionError
from packager.importers import _pickle_machine
from packager.importers._importer import Options
from packager.importers._objects import library_of, read_object
from packager.importers._pickles import is_pickle, scan_pickle
from tests.packager.importers.hostile_pickles import BROKEN, NAMED, laughs

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = frozenset({"sklearn", "numpy", "scipy"})


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    random = np.random.default_rng(0)
    return RandomForestClassifier(5, random_state=0).fit(random.normal(size=(50, 3)), random.integers(0, 2, 50))


@pytest.mark.parametrize("name", NAMED)
def test_what_a_hostile_pickle_would_call_is_named_and_it_is_never_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(NAMED[name].data)
    assert is_pickle(path)
    assert any(NAMED[name].named in found for found in scan_pickle(path).foreign)
    with pytest.raises(ConversionError, match="runs code when it is read") as caught:
        read_object(path, Options(trusted=False), LIBRARIES)
    assert NAMED[name].named in str(caught.value)
    assert "skops" in caught.value.hint
    assert "trusted = true" in caught.value.hint


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pickle_is_refused_even_if_it_is_trusted(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pickle_machine.Machine.__init__, "__defaults__", (0, 300_000))
    path = tmp_path / "model.pkl"
    path.write_bytes(BROKEN[name].data)
    tracemalloc.start()
    try:
        with pytest.raises(ConversionError, match=BROKEN[name].named):
            read_object(path, Options(trusted=True), LIBRARIES)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_pickle_that_grows_by_repetition_is_followed_in_as_many_steps_as_it_has(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(laughs())
    assert scan_pickle(tmp_path / "model.pkl").foreign == ()


@pytest.mark.parametrize("compress", [0, 3, "gzip", "bz2", "lzma", "xz"])
def test_a_models_pickle_is_followed_to_its_end_and_read_once_trusted(
    forest: RandomForestClassifier, tmp_path: Path, compress: object
) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(forest, path, compress=(compress, 3) if isinstance(compress, str) else compress)
    scan = scan_pickle(path)
    assert scan.root == "sklearn.ensemble._forest.RandomForestClassifier"
    assert scan.foreign == ()
    assert scan.libraries == ("numpy", "sklearn")
    assert library_of(path) == "sklearn"
    found = read_object(path, Options(trusted=True), LIBRARIES)
    assert isinstance(found.object, RandomForestClassifier)
    assert any(
        "read as a trusted pickle: it names classes of numpy, sklearn, and nothing else" in note for note in found.notes
    )


def test_what_a_trusted_pickle_names_is_told_all_the_same(tmp_path: Path) -> None:
    joblib.dump([np.zeros(3), pytest.raises], tmp_path / "model.joblib")
    found = read_object(tmp_path / "model.joblib", Options(trusted=True), LIBRARIES)
    assert any("beside them _pytest.raises.raises" in note for note in found.notes)


def test_the_library_of_a_skops_file_is_that_of_the_whole(forest: RandomForestClassifier, tmp_path: Path) -> None:
    skops.io.dump(forest, tmp_path / "model")
    assert library_of(tmp_path / "model") == "sklearn"


def test_a_bomb_is_not_opened_to_find_out_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    size = 40 << 20
    path.write_bytes(zlib.compress(b"\x80\x04X" + size.to_bytes(4, "little") + bytes(size) + b"0c__main__\nModel\n."))
    tracemalloc.start()
    try:
        assert library_of(path) == "pickle"
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [b'{"__module__":' * 50_000, b"{}", b"[" * 200_000])
def test_a_schema_that_is_none_is_of_no_library(tmp_path: Path, data: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("schema.json", data)
    assert library_of(tmp_path / "model") == ""


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + b"\0" * 18, b"x", b"{}"])
def test_other_files_are_of_no_library(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model").write_bytes(data)
    assert library_of(tmp_path / "model") == ""
