"""What a runtime is, and how one is found by its kind."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Protocol, cast

from agent.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import Manifest

KINDS = ("onnxruntime", "litert", "coreml", "winml", "fpga")
"""The modules of this folder."""
_MODULES = {"litert": "ai_edge_litert", "coreml": "coremltools", "winml": "onnxruntime", "fpga": "serial"}
"""What is imported for a kind, where that is not its name."""
_SYSTEMS = {"coreml": "Darwin", "winml": "Windows"}
"""The only system that has a kind: the Python library goes anywhere, the runtime is a part of the system."""
_LAST_APART = 15
"""The last macOS whose number is not that of the iOS of its year."""
_DISTRIBUTIONS = {"litert": "ai-edge-litert", "coreml": "coremltools", "fpga": "pyserial"}
_EXTRAS = {"fpga": "uart"}
"""Of packtrain, what brings a kind, where that is not its name."""


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
    if kind not in KINDS or platform.system() != _SYSTEMS.get(kind, platform.system()):
        return False
    return importlib.util.find_spec(_MODULES.get(kind, kind)) is not None


def installed_version(kind: str) -> str:
    """The version of the runtime of that kind; empty where it is not installed. Nothing of it is imported.

    That of Core ML is the system's, as the release of iOS with the same operators; that of WinML is Windows' own.
    """
    if not is_available(kind):
        return ""
    if kind == "coreml":
        return core_ml_release(platform.mac_ver()[0])
    if kind == "winml":
        return platform.version()
    try:
        return metadata.version(_DISTRIBUTIONS.get(kind, kind))
    except metadata.PackageNotFoundError:
        return ""  # a build under another distribution's name, which can't be compared


def core_ml_release(macos: str) -> str:
    """The release of iOS that has the Core ML of a release of macOS, such as ``17`` for ``14.5``."""
    major = int(macos.partition(".")[0])
    return str(major + 3 if major <= _LAST_APART else major)


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
            hint=f"pip install packtrain[{_EXTRAS.get(kind, kind)}]",
        )
    module = cast("_Module", importlib.import_module(f"agent.runtimes.{kind}"))
    return module.open_model(folder / manifest.runtime.entry, threads=threads)
