"""Kotlin 1.3 and newer, for Android and the JVM: HTTP, and TensorFlow Lite's interpreter."""

from __future__ import annotations

from packager.clients.languages._language import Language, LanguageName, escaped, utf16_escape
from packager.clients.naming import camel, pascal

_KEYWORDS = """
as break class continue do else false for fun if in interface is null object package return super this throw true try
typealias typeof val var when while
"""


def literal(text: str) -> str:
    """The text, anything but plain letters by its units in hexadecimal; a dollar begins no template."""
    return escaped(text, {"\\": "\\\\", '"': '\\"', "$": "\\$"}, utf16_escape)


def comment(text: str) -> str:
    """The text, where comments nest: neither opened nor closed in it."""
    return text.replace("/*", "/ *").replace("*/", "* /")


language = Language(
    name=LanguageName.KOTLIN,
    reserved=frozenset((*_KEYWORDS.split(), "field", "it", "equals", "hashCode", "toString")),
    package=lambda words: f"{camel(words).lower()}client",
    type_name=pascal,
    field=camel,
    input="input",
    output="output",
    literal=literal,
    comment=comment,
    types={
        "float16": "FloatArray",
        "float32": "FloatArray",
        "float64": "DoubleArray",
        "int8": "ByteArray",
        "int16": "ShortArray",
        "int32": "IntArray",
        "int64": "LongArray",
        "uint8": "IntArray",
        "uint16": "IntArray",
        "uint32": "LongArray",
        "uint64": "LongArray",
        "bool": "BooleanArray",
        "string": "Array<String>",
    },
    files={
        "Tensors.kt": "Tensors.kt",
        "Client.kt": "{type}Model.kt",
        "HttpBackend.kt": "HttpBackend.kt",
        "GoldenTest.kt": "GoldenTest.kt",
    },
    backends={"litert": ("TfliteBackend.kt", "LocalBackend.kt")},
    test="kotlinc -include-runtime -d golden_test.jar $(ls *.kt | grep -v LocalBackend) && java -jar golden_test.jar",
)
