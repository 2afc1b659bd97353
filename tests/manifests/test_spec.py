"""The specification and the code speak of the same rules."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "manifests" / "SPEC.md").read_text()
CITATION = re.compile(r"SPEC (\d+(?:\.\d+)*)((?:(?:, | to | and )\d+(?:\.\d+)+)*)")
CODE = re.compile(r"`((?:canonical|manifest|bundle|layout|signature|release)\.[a-z-]+)`")


def numbered() -> set[str]:
    rules: set[str] = set()
    section = ""
    for line in SPEC.splitlines():
        if heading := re.match(r"#{2,3} (\d+(?:\.\d+)?)", line):
            section = heading[1]
            rules.add(section)
        elif rule := re.match(r"(\d+)\. ", line):
            rules.add(f"{section}.{rule[1]}")
    return rules


def cited() -> dict[str, Path]:
    found = {}
    for folder in ("manifests", "wire", "terminal", "targets", "packager", "agent", "fleet", "tests", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md") and path != ROOT / "manifests" / "SPEC.md":
                for first, more in CITATION.findall(path.read_text()):
                    for number in (first, *re.findall(r"[\d.]+\d", more)):
                        found[number] = path.relative_to(ROOT)
    return found


def test_every_rule_that_is_cited_exists() -> None:
    rules = numbered()
    assert {number: path for number, path in cited().items() if number not in rules} == {}


def test_every_code_of_the_specification_is_one_that_is_raised() -> None:
    source = "".join(path.read_text() for path in (ROOT / "manifests").glob("*.py"))
    raised = set(re.findall(r'"([a-z]+\.[a-z-]+)"', source))
    raised |= {f"{document}.version" for document in ("manifest", "release")}
    raised |= {f"manifest.{section}" for section in re.findall(r'_unique\("([a-z]+)"', source)}
    assert set(CODE.findall(SPEC)) - {"manifest.py"} <= raised


def test_the_fixed_names_of_the_specification_are_those_of_the_code() -> None:
    source = "".join(path.read_text() for path in (ROOT / "manifests").glob("*.py"))
    table = SPEC[SPEC.index("## 1.") : SPEC.index("## 2.")]
    names = re.findall(r"`(application/[^`]+)`", table)
    assert len(names) == 4
    assert all(f'"{name}"' in source for name in names)
