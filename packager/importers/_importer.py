"""What an importer is: the protocol that every module here satisfies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from manifests.manifest import TaskSection

    Arrays: TypeAlias = dict[str, NDArray[np.generic]]


class Imported:
    """A model that was read."""

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        task: TaskSection,
        predict: Callable[[Arrays], Arrays] | None,
        names: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        gaps: bool = False,
    ) -> None:
        """`predict` gives the framework's own outputs on the ONNX model's inputs; None: the framework is ONNX itself.

        `names` are those of the features, where the framework knows them; `notes` what the user should know.
        `gaps`: NaN in a float input stands for a value that is missing, and the framework has an answer to it.
        """
        self.model = model
        self.task = task
        self.predict = predict
        self.names = names
        self.notes = notes
        self.gaps = gaps


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``pack.toml`` says of the import."""

    trusted: bool = False
    signature: str = ""
    """Which of the model's signatures, where it has several; empty: the framework's default."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    """Of the inputs, as ``[model.inputs]`` declares them: for formats that do not say; a name is a free dimension."""
    dtypes: dict[str, str] = {}


class Importer(Protocol):
    """A module of this package; its name is the framework's."""

    DISTRIBUTIONS: tuple[str, ...]
    """On PyPI; their versions are part of the cache key and of the manifest."""
    EXTRA: str
    """The extra of packtrain that brings them.

    A module may also have a ``TOOLCHAIN``: the name of the environment that brings them where they are not installed
    beside packtrain; and ``PARTS``: distributions that a model of this framework may have parts of, whose versions
    count as well where they are installed.
    """
    TOLERANCE: float
    """The largest difference to the framework's predictions that is rounding, relative to the largest prediction."""

    def find_model(self, path: Path) -> Path | None:
        """The model file of this framework at `path` (a file, or a folder such as MLflow's); None: there is none.

        Decided by the content; nothing heavy is imported and the file is not parsed.
        """
        ...

    def read_model(self, path: Path, options: Options) -> Imported:
        """The model as ONNX.

        Raises:
            ConversionError: it can't be read, is not safe to read, or can't be expressed.
        """
        ...
