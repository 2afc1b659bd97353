"""Runs the pages of the documentation; README.md beside this file says how a page is written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from markdown_it import MarkdownIt

from packager.config import toolchains_folder

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
REFUSED = {"", "sh", "bash", "shell", "py", "pycon", "zsh"}
COMMAND_SECONDS = 120
READY_SECONDS = 60
DIRECTIVE = re.compile(r"<!--\s*(file|folder|not run):\s*(.+?)\s*-->")


class Block(msgspec.Struct, frozen=True):
    """One fenced block."""

    line: int
    """Of its first line of content, counted from 1."""
    language: str
    options: dict[str, str]
    content: str
    directives: dict[str, str]
    """Of the comment that stands before it."""


class Command(msgspec.Struct, frozen=True):
    """One command of a console block, and the output it is said to have."""

    line: int
    text: str
    expected: tuple[str, ...]


class PageError(AssertionError):
    """A page doesn't hold what it says."""


def read_page(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    blocks = []
    directives: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type == "html_block":
            directives.update(DIRECTIVE.findall(token.content))
        elif token.type == "fence":
            assert token.map is not None
            language, *options = token.info.split() or [""]
            pairs = dict(option.split("=", 1) for option in options)
            blocks.append(Block(token.map[0] + 2, language, pairs, token.content, directives))
            directives = {}
    return blocks


def read_commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    commands: list[Command] = []
    for number, line in enumerate(block.content.splitlines(), block.line):
        if line.startswith("$ "):
            commands.append(Command(number, line[2:], ()))
            continue
        if not commands:
            raise PageError(f"line {number}: a console block begins with '$ '")
        last = commands[-1]
        if line.startswith("> ") and not last.expected:
            commands[-1] = Command(last.line, f"{last.text}\n{line[2:]}", ())
        else:
            commands[-1] = Command(last.line, last.text, (*last.expected, line))
    return commands


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether the output is what a page says."""
    parts = []
    for line in expected:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(r".*?".join(re.escape(piece) for piece in line.rstrip().split("…")) + r"[ \t]*\n")
    return re.fullmatch("".join(parts), output if output.endswith("\n") or not output else output + "\n") is not None


class Terminal:
    """A folder in which commands run one after another; what was exported and the current folder carry over."""

    def __init__(self, folder: Path, home: Path, *, ready_seconds: float) -> None:
        self.folder = folder
        self._ready_seconds = ready_seconds
        self._state = home / "state"
        kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE") if name in os.environ}
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "PACK_TOOLCHAINS": str(toolchains_folder()),
        }
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, command: Command, *, status: int) -> None:
        """Run a command to its end, or start it when it ends with ``&``."""
        if command.text.endswith(" &"):
            self._start(command)
            return
        state = shlex.quote(str(self._state))
        script = f"trap 'pwd > {state}.folder; env -0 > {state}.environment' EXIT\n{command.text}\n"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        output = done.stdout.decode()
        if done.returncode != status:
            raise PageError(
                f"line {command.line}: '{command.text}': expected status {status}, got {done.returncode}:\n{output}"
            )
        self._check(command, output)
        self.folder = Path(self._state.with_suffix(".folder").read_text().rstrip("\n"))
        variables = self._state.with_suffix(".environment").read_text().split("\0")
        self._environment = dict(variable.split("=", 1) for variable in variables if variable)

    def close(self) -> None:
        """End what runs in the background."""
        for process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._background:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, command: Command) -> None:
        log = self._state.with_name(f"background-{len(self._background)}.log")
        with log.open("wb") as sink:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command.text.removesuffix(' &')}"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append(process)
        deadline = time.monotonic() + self._ready_seconds
        while command.expected and not matches((*command.expected, "…"), log.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                self._check(command, log.read_text())
            time.sleep(0.05)

    @staticmethod
    def _check(command: Command, output: str) -> None:
        if command.expected and not matches(command.expected, output):
            wanted = "\n".join(command.expected)
            raise PageError(
                f"line {command.line}: output of '{command.text}' differs:\nexpected\n{wanted}\ngot\n{output}"
            )


class Page:
    """A page that is run in a folder of its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder / "page"
        self._home = folder / "home"
        self._home.mkdir()
        self._blocks = read_page(path)

    def run(self, monkeypatch: pytest.MonkeyPatch, *, ready_seconds: float) -> None:
        """Run every block; a program in the background gets so many seconds to print what the page waits for.

        Raises:
            PageError: one does not do what the page says.
        """
        start = [block.directives["folder"] for block in self._blocks if "folder" in block.directives]
        if start:
            shutil.copytree(ROOT / start[0], self._folder)
        else:
            self._folder.mkdir()
        terminal = Terminal(self._folder, self._home, ready_seconds=ready_seconds)
        monkeypatch.setenv("HOME", str(self._home))
        namespace: dict[str, object] = {"__name__": "__page__"}
        try:
            for block in self._blocks:
                self._run(block, terminal, namespace, monkeypatch)
        finally:
            terminal.close()

    def _run(
        self, block: Block, terminal: Terminal, namespace: dict[str, object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if "not run" in block.directives:
            return
        if "file" in block.directives:
            target = terminal.folder / block.directives["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.content)
        elif block.language in REFUSED:
            raise PageError(f"line {block.line}: a block is 'console', 'python' or 'text', not '{block.language}'")
        elif block.language == "python":
            monkeypatch.chdir(terminal.folder)
            # Blank lines before it, so that a traceback names the line of the page.
            code = compile("\n" * (block.line - 1) + block.content, str(self._path), "exec", dont_inherit=True)
            exec(code, namespace)  # noqa: S102 - running our own pages is what this is for
        elif block.language == "console":
            commands = read_commands(block)
            for command in commands:
                last = command is commands[-1]
                terminal.run(command, status=int(block.options.get("exit", "0")) if last else 0)


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a page from top to bottom; raises `PageError` where it doesn't hold."""

    def run(path: Path, *, ready_seconds: float = READY_SECONDS) -> None:
        Page(path, tmp_path).run(monkeypatch, ready_seconds=ready_seconds)

    return run


@pytest.fixture
def page_error() -> type[PageError]:
    """What `run_page` raises."""
    return PageError
