"""What the runner of the pages promises: a page that does not hold is found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., None]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


GOOD = """\
<!-- file: data/greeting.txt -->
```text
hello
```

```python
from pathlib import Path
greeting = Path("data/greeting.txt").read_text()
```

```python
assert greeting == "hello\\n"
```

```console
$ export NAME=world
$ cd data
$ pwd
…/data
$ echo hello \\
> $NAME; echo more; echo and more; echo end
hello w…d
…
end
$ cat greeting.txt
hello
$ echo not compared
```

```console exit=3
$ echo before >&2; exit 3
before
```

<!-- not run: it would end the world -->
```console
$ exit 1
```

```text
anything
```
"""


def test_a_page_that_holds_runs_to_its_end(page: Path, run_page: Run) -> None:
    page.write_text(GOOD)
    run_page(page)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("```console\n$ exit 4\n```", "line 2: 'exit 4': expected status 0, got 4"),
        ("```console exit=4\n$ true\n```", "expected status 4, got 0"),
        ("```console exit=4\n$ exit 4\n$ exit 4\n```", "line 2: 'exit 4': expected status 0"),
        ("```console\n$ false | true\n```", "expected status 0, got 1"),
        ("```console\n$ echo one\ntwo\n```", "output of 'echo one' differs"),
        ("```console\n$ echo one; echo two\none\n```", "differs"),
        ("```console\n$ echo one\none\ntwo\n```", "differs"),
        ("```console\necho one\n```", r"begins with '\$ '"),
        ("```console\n$ bash -c 'echo one; exec sleep 60' &\ntwo\n```", "differs"),
        ("```console\n$ false &\nready\n```", "differs"),
        ("```\ntext\n```", "not ''"),
        ("```sh\ntrue\n```", "not 'sh'"),
    ],
)
def test_a_page_that_does_not_hold_is_found(
    page: Path, run_page: Run, page_error: type[AssertionError], content: str, message: str
) -> None:
    page.write_text(content)
    with pytest.raises(page_error, match=message):
        run_page(page, ready_seconds=0.5)


def test_an_error_in_python_names_the_line_of_the_page(page: Path, run_page: Run) -> None:
    page.write_text("# Title\n\n```python\nfirst = 1\nraise ValueError(first)\n```\n")
    with pytest.raises(ValueError, match="1") as caught:
        run_page(page)
    assert caught.traceback[-1].lineno + 1 == 5


def test_what_runs_in_the_background_is_waited_for_and_ended(page: Path, run_page: Run, tmp_path: Path) -> None:
    page.write_text(
        "```console\n$ bash -c 'echo $$ > pid; sleep 0.2; echo ready; exec sleep 600' &\nready\n$ cp pid ../pid\n```\n"
    )
    run_page(page)
    process = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_page_may_start_from_a_folder_of_the_repository(page: Path, run_page: Run) -> None:
    page.write_text("<!-- folder: tests/docs -->\n```console\n$ ls README.md\nREADME.md\n```\n")
    run_page(page)
