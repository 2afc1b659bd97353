"""What a runtime is, and how one is found by its kind."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from typing import TYPE_CHECKING, Protocol, cast

from agent.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import Manifest

KINDS = ("onnxruntime", "litert")
"""The modules of this folder."""


class Runtime(Protocol):
    """An opened model file."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call. Not safe for concurrent calls unless the module says so.

        Raises:
            ValueError: an input is missing, unknown, or of the wrong dtype or shape; the message names it.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier calls left, where the file keeps state from call to call."""
        ...

    def close(self) -> None:
        """Give back what the runtime holds; no call may follow."""
        ...


class _Module(Protocol):
    DISTRIBUTION: str
    """The distribution on PyPI that this runtime is."""

    def open_model(self, path: Path, *, threads: int) -> Runtime: ...


def is_available(kind: str) -> bool:
    """Whether the runtime of that kind is installed here; nothing of it is imported."""
    return kind in KINDS and importlib.util.find_spec({"litert": "ai_edge_litert"}.get(kind, kind)) is not None


def installed_version(kind: str) -> str:
    """The version of the runtime of that kind; empty where it is not installed. Nothing of it is imported."""
    if not is_available(kind):
        return ""
    try:
        return metadata.version({"litert": "ai-edge-litert"}.get(kind, kind))
    except metadata.PackageNotFoundError:
        return ""  # a build under another distribution's name, which can't be compared


def open_runtime(manifest: Manifest, folder: Path, *, threads: int = 1) -> Runtime:
    """The bundle in `folder`, opened by the runtime that its manifest names.

    Raises:
        IncompatibleError: the runtime is unknown or not installed here.
    """
    kind = manifest.runtime.kind
    if not is_available(kind):
        raise IncompatibleError(
            "agent.runtime-missing",
            f"runtime '{kind}' is not installed on this device",
            hint=f"pip install packtrain[{kind}]",
        )
    module = cast("_Module", importlib.import_module(f"agent.runtimes.{kind}"))
    return module.open_model(folder / manifest.runtime.entry, threads=threads)
