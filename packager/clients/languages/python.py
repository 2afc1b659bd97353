"""Python: numpy arrays, the runtimes of packtrain, and HTTP by the standard library."""

from __future__ import annotations

import keyword

from packager.clients.languages._language import Language, LanguageName
from packager.clients.naming import pascal, snake

_USED = ("np", "self", "cls", "field", "fields", "dataclass", "inputs", "outputs", "tensors", "stored", "real")
_KINDS = ("onnxruntime", "litert", "coreml", "winml", "fpga")
"""The modules of `agent.runtimes`."""

language = Language(
    name=LanguageName.PYTHON,
    reserved=frozenset((*keyword.kwlist, *keyword.softkwlist, *_USED)),
    package=lambda words: snake([*words, "client"]),
    type_name=pascal,
    field=snake,
    input="input",
    output="output",
    literal=ascii,
    comment=lambda text: text.replace("\\", "\\\\").replace('"', '\\"'),
    types={
        **{
            name: f"np.{name}"
            for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
        },
        "float16": "np.float16",
        "bool": "np.bool_",
        "string": "np.object_",
    },
    files={
        "__init__.py": "{package}/__init__.py",
        "client.py": "{package}/client.py",
        "tensors.py": "{package}/tensors.py",
        "http_backend.py": "{package}/http_backend.py",
        "test_golden.py": "test_golden.py",
        "py.typed": "{package}/py.typed",
    },
    backends=dict.fromkeys(
        ("onnxruntime", "litert", "coreml", "winml"), ("local_backend.py", "{package}/local_backend.py")
    ),
    test="python -m unittest test_golden",
)
