"""C++17: its own library, HTTP over sockets, and the C interfaces of onnxruntime and TensorFlow Lite."""

from __future__ import annotations

from packager.clients.languages._language import Language, LanguageName, escaped
from packager.clients.naming import pascal, snake

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires return
short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef
typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_USED = """
std packtrain inputs outputs tensors sizes stored real values data shape none assert errno linux major makedev minor
near far offsetof stderr stdin stdout unix
"""
"""Names of the templates, and of macros that a system's headers bring."""


def literal(text: str) -> str:
    """The text as UTF-8, bytes that are no plain letters in octal: that never takes in the next one."""
    special = {"\\": "\\\\", '"': '\\"', "?": "\\?"}
    written = escaped(text, special, lambda each: "".join(f"\\{byte:03o}" for byte in each.encode()))
    return f"{written}s" if "\0" in text else written


language = Language(
    name=LanguageName.CPP,
    reserved=frozenset((*_KEYWORDS.split(), *_USED.split())),
    package=lambda words: snake([*words, "client"]),
    type_name=pascal,
    field=snake,
    input="input",
    output="output",
    literal=literal,
    comment=lambda text: text,
    types={
        **{
            name: f"std::{name}_t"
            for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        },
        "float16": "float",
        "float32": "float",
        "float64": "double",
        "bool": "std::uint8_t",
        "string": "std::string",
    },
    files={
        "tensors.hpp": "tensors.hpp",
        "files.hpp": "files.hpp",
        "client.hpp": "{package}.hpp",
        "http_backend.hpp": "http_backend.hpp",
        "golden_test.cpp": "golden_test.cpp",
    },
    backends={
        "onnxruntime": ("onnxruntime_backend.hpp", "local_backend.hpp"),
        "winml": ("onnxruntime_backend.hpp", "local_backend.hpp"),
        "litert": ("tflite_backend.hpp", "local_backend.hpp"),
    },
    test="c++ -std=c++17 -o golden_test golden_test.cpp && ./golden_test",
)
