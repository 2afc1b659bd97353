"""Swift 5.7 and newer, as a package: HTTP, and Core ML."""

from __future__ import annotations

from packager.clients.languages._language import Language, LanguageName, escaped
from packager.clients.naming import camel, pascal

_KEYWORDS = """
associatedtype class deinit enum extension fileprivate func import init inout internal let open operator private
precedencegroup protocol public rethrows static struct subscript typealias var break case catch continue default defer
do else fallthrough for guard if in repeat return throw switch where while any as await false is nil self Self super
throws true try actor async some convenience dynamic didSet final get indirect infix lazy left mutating none nonmutating
optional override postfix precedence prefix Protocol required right set some Type unowned weak willSet
"""


def literal(text: str) -> str:
    """The text, anything but plain letters by its code point."""
    return escaped(text, {"\\": "\\\\", '"': '\\"'}, lambda each: f"\\u{{{ord(each):x}}}")


language = Language(
    name=LanguageName.SWIFT,
    reserved=frozenset(_KEYWORDS.split()),
    package=lambda words: f"{pascal(words)}Client",
    type_name=pascal,
    field=camel,
    input="input",
    output="output",
    literal=literal,
    comment=lambda text: text,
    types={
        "float16": "Float",
        "float32": "Float",
        "float64": "Double",
        "int8": "Int8",
        "int16": "Int16",
        "int32": "Int32",
        "int64": "Int64",
        "uint8": "UInt8",
        "uint16": "UInt16",
        "uint32": "UInt32",
        "uint64": "UInt64",
        "bool": "Bool",
        "string": "String",
    },
    files={
        "Package.swift": "Package.swift",
        "Tensors.swift": "Sources/{package}/Tensors.swift",
        "Client.swift": "Sources/{package}/{type}Model.swift",
        "HttpBackend.swift": "Sources/{package}/HttpBackend.swift",
        "GoldenTests.swift": "Tests/{package}Tests/GoldenTests.swift",
    },
    backends={"coreml": ("CoreMLBackend.swift", "Sources/{package}/LocalBackend.swift")},
    test="swift test",
    golden="Tests/{package}Tests/golden.bin",
    model="Sources/{package}/model",
)
