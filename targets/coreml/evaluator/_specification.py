"""The protobuf messages of Core ML's model specification, as coremltools ships them.

Only the generated message modules are loaded, not coremltools itself: what evaluates a package must not depend on the
library that wrote it, and the library takes seconds to import.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from targets._target import TargetError

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = "coreml_specification"


@cache
def messages(name: str) -> ModuleType:
    """The generated module of that name, such as ``Model_pb2`` or ``MIL_pb2``.

    Raises:
        TargetError: coremltools is not installed (``coreml.toolchain``).
    """
    if _PACKAGE not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or not found.submodule_search_locations:
            raise TargetError(
                "coreml.toolchain", "coremltools is not installed", hint="pip install 'packtrain[coreml]'"
            )
        folder = Path(found.submodule_search_locations[0]) / "proto"
        specification = importlib.util.spec_from_file_location(
            _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if specification is None or specification.loader is None:
            raise TargetError("coreml.toolchain", f"coremltools has no messages in '{folder}'")
        package = importlib.util.module_from_spec(specification)
        sys.modules[_PACKAGE] = package
        specification.loader.exec_module(package)
    return importlib.import_module(f"{_PACKAGE}.{name}")
