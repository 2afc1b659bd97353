"""C# 6 and newer: HTTP, Microsoft.ML.OnnxRuntime, and Windows ML."""

from __future__ import annotations

from xml.sax.saxutils import escape

from packager.clients.languages._language import Language, LanguageName, escaped, utf16_escape
from packager.clients.naming import pascal

_OBJECTS = ("Equals", "GetHashCode", "GetType", "ToString", "MemberwiseClone", "ReferenceEquals", "Finalize")
"""What every object has; keywords are in lower case, and names of properties are not."""


def literal(text: str) -> str:
    """The text, anything but plain letters by its units in hexadecimal."""
    return escaped(text, {"\\": "\\\\", '"': '\\"'}, utf16_escape)


language = Language(
    name=LanguageName.CSHARP,
    reserved=frozenset(_OBJECTS),
    package=lambda words: f"{pascal(words)}Client",
    type_name=pascal,
    field=lambda words: _property(pascal(words)),
    input="Input",
    output="Output",
    literal=literal,
    comment=escape,
    types={
        "float16": "float",
        "float32": "float",
        "float64": "double",
        "int8": "sbyte",
        "int16": "short",
        "int32": "int",
        "int64": "long",
        "uint8": "byte",
        "uint16": "ushort",
        "uint32": "uint",
        "uint64": "ulong",
        "bool": "bool",
        "string": "string",
    },
    files={
        "Tensors.cs": "Tensors.cs",
        "Client.cs": "{type}Model.cs",
        "HttpBackend.cs": "HttpBackend.cs",
        "GoldenTest.cs": "GoldenTest.cs",
    },
    backends={
        "onnxruntime": ("OnnxRuntimeBackend.cs", "LocalBackend.cs"),
        "winml": ("WindowsMLBackend.cs", "LocalBackend.cs"),
    },
    test="mcs -out:golden_test.exe $(ls *.cs | grep -v LocalBackend) && mono golden_test.exe",
)


def _property(name: str) -> str:
    """A property must not be named as its type is: ``PhotoInputs`` in ``PhotoInputs``."""
    return f"{name}Value" if name.endswith(("Inputs", "Outputs")) else name
