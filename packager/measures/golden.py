"""The samples that a device runs before it activates the bundle, with what the shipped file computed here."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from manifests.digests import digest_file
from manifests.manifest import FileSection
from packager.errors import ConversionError
from packager.measures.running import call_size, one_call, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection
    from packager.measures.running import Runnable
    from packager.samples import Samples

FILE_NAME = "golden.npz"
_SAMPLES = 8
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_golden(
    runnable: Runnable, samples: Samples, signature: SignatureSection, folder: Path
) -> tuple[FileSection, int]:
    """Write ``golden.npz`` into `folder`; its entry in the manifest and the number of samples are returned.

    Raises:
        ConversionError: the shipped file computes something else when it is asked again.
    """
    import numpy as np

    size = call_size(signature)
    if isinstance(size, dict):
        # Rows of different inputs belong to no common sample: a device makes one call of them.
        inputs, count = one_call(samples.inputs, size), 1
        expected, again = runnable.run(inputs), runnable.run(inputs)
    else:
        count = _SAMPLES if size is None else size * max(1, _SAMPLES // size)
        inputs = samples.head(count).inputs
        count = len(next(iter(inputs.values())))
        expected, again = run_all(runnable, inputs, size), run_all(runnable, inputs, size)
    for name, array in expected.items():
        if not np.array_equal(array, again[name], equal_nan=array.dtype.kind == "f"):
            raise ConversionError(
                "golden.repeat",
                f"output '{name}' differs from run to run on the same inputs, so no device can check it",
            )
    arrays = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"expected.{name}": array for name, array in expected.items()}
    path = folder / FILE_NAME
    write_npz(path, arrays)
    entry = FileSection(
        path=FILE_NAME,
        role="golden",
        digest=digest_file(path),
        size=path.stat().st_size,
        media_type="application/vnd.numpy.npz",
    )
    return entry, count


def write_npz(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write an uncompressed npz whose bytes depend on the arrays alone: `numpy.savez` promises no such thing.

    Text is stored as fixed-width unicode, so that it can be read without pickle.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = arrays[name].astype(np.str_) if arrays[name].dtype.kind == "O" else arrays[name]
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH), stream.getvalue())
