from __future__ import annotations

import os
import time
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

from packager.cache import Cache, cache_key
from packager.scratch import open_scratch

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sha256:" + "a" * 64


class Answer(msgspec.Struct, frozen=True):
    number: int


def files(folder: Path, content: str = "content") -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text(content)
    return folder


def test_what_was_kept_is_found_with_its_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.find(KEY, Answer) is None
    kept = cache.keep(KEY, Answer(7), files(tmp_path / "made"))
    assert cache.find(KEY, Answer) == (Answer(7), kept)
    assert (kept / "deep" / "file").read_text() == "content"
    assert not (tmp_path / "made").exists()


def test_a_damaged_entry_is_thrown_away(tmp_path: Path) -> None:
    def change_file(entry: Path) -> None:
        (entry / "deep" / "file").write_text("other")

    def lose_file(entry: Path) -> None:
        (entry / "deep" / "file").unlink()

    def change_result(entry: Path) -> None:
        path = entry / "entry.json"
        path.write_bytes(path.read_bytes().replace(b'"number":7', b'"number":8'))

    def cut_list(entry: Path) -> None:
        path = entry / "entry.json"
        path.write_bytes(path.read_bytes()[:-5])

    def lose_list(entry: Path) -> None:
        (entry / "entry.json").unlink()

    cache = Cache(tmp_path / "cache")
    for damage in (change_file, lose_file, change_result, cut_list, lose_list):
        kept = cache.keep(KEY, Answer(7), files(tmp_path / "made"))
        damage(kept)
        assert cache.find(KEY, Answer) is None, damage.__name__
        assert not kept.exists()


def test_builds_that_keep_the_same_at_once_all_succeed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    made = [files(tmp_path / f"made-{number}") for number in range(8)]
    threads = [Thread(target=cache.keep, args=(KEY, Answer(7), folder)) for folder in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = cache.find(KEY, Answer)
    assert found is not None
    assert found[0] == Answer(7)


def test_a_key_depends_on_every_field_and_on_what_it_is_a_key_of() -> None:
    class Other(msgspec.Struct, frozen=True):
        number: int

    assert cache_key(Answer(1)) == cache_key(Answer(1))
    assert len({cache_key(Answer(1)), cache_key(Answer(2)), cache_key(Other(1))}) == 3


def old(entry: Path, *, days: float) -> None:
    used = time.time() - days * 86_400
    os.utime(entry / "entry.json", (used, used))


def keys(count: int) -> list[str]:
    return ["sha256:" + f"{number:064x}" for number in range(count)]


def test_pruning_removes_what_was_not_used_for_longest_until_the_rest_fits(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    kept = [
        cache.keep(key, Answer(number), files(tmp_path / f"made{number}", "x" * 10_000))
        for number, key in enumerate(keys(3))
    ]
    for entry, days in zip(kept, (3, 1, 2), strict=True):
        old(entry, days=days)
    assert cache.prune(21_000) > 10_000
    assert [entry.exists() for entry in kept] == [False, True, True]
    assert cache.find(keys(3)[2], Answer) is not None  # used just now, so the other one goes
    cache.prune(11_000)
    assert [entry.exists() for entry in kept] == [False, False, True]


def test_pruning_leaves_what_a_running_build_has_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first, second = keys(2)
    for number, key in enumerate((first, second)):
        old(cache.keep(key, Answer(number), files(tmp_path / f"made{number}")), days=1)
    with open_scratch(cache.scratch):
        assert cache.find(first, Answer) is not None
        cache.prune(0)
        assert cache.find(first, Answer) is not None
        assert cache.find(second, Answer) is None
