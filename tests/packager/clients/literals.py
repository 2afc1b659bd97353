"""Programs that print every one of many texts as hexadecimal UTF-8: a compiler says what a literal means."""

from __future__ import annotations

import random

from packager.clients.languages._language import LanguageName, open_language
from packager.clients.naming import one_line
from tests.packager.clients.bundles import HOSTILE

_ALPHABET = "\"'\\/*?$#{}()<>&%`~ \n\r\t\0\x0b\x0c\x1b\x7f\x85\u2028\u2029\u202e\ufeffaAuUxX0179_nrtß形🐎\U0010ffff"


def texts(count: int = 300) -> list[str]:
    """The hostile names, and texts of letters that mean something to compilers; the same ones every time."""
    chance = random.Random(7)  # noqa: S311 - no secret
    made = ["".join(chance.choices(_ALPHABET, k=chance.randint(1, 12))) for _ in range(count)]
    return [*HOSTILE[1:], *made]


def hexadecimal(known: list[str]) -> list[str]:
    """What the programs print."""
    return [text.encode().hex() for text in known]


def csharp_program(known: list[str]) -> str:
    language = open_language(LanguageName.CSHARP)
    entries = "\n".join(f"        {language.literal(text)}, // {one_line(text)}" for text in known)
    return f"""using System;
using System.Text;
static class Literals {{
    static readonly string[] Texts = {{
{entries}
    }};
    static void Main() {{
        foreach (var text in Texts) {{
            var bytes = Encoding.UTF8.GetBytes(text);
            Console.WriteLine(BitConverter.ToString(bytes).Replace("-", "").ToLower());
        }}
    }}
}}
"""


def cpp_program(known: list[str]) -> str:
    language = open_language(LanguageName.CPP)
    entries = "\n".join(f"    {language.literal(text)}, // {one_line(text)}." for text in known)
    return f"""#include <cstdio>
#include <string>
#include <vector>
using namespace std::string_literals;
int main() {{
  const std::vector<std::string> texts = {{
{entries}
  }};
  for (const auto& text : texts) {{
    for (const unsigned char each : text) std::printf("%02x", each);
    std::printf("\\n");
  }}
}}
"""


def kotlin_program(known: list[str]) -> str:
    language = open_language(LanguageName.KOTLIN)
    entries = "\n".join(
        f'    /* {language.comment(one_line(text))} */ println({language.literal(text)}.toByteArray().joinToString("") '
        '{ String.format("%02x", it) })'
        for text in known
    )
    return f"package literals\nfun main() {{\n{entries}\n}}\n"


def swift_program(known: list[str]) -> str:
    language = open_language(LanguageName.SWIFT)
    return "\n".join(
        f"let text{number} = {language.literal(text)} // {one_line(text)}" for number, text in enumerate(known)
    )
