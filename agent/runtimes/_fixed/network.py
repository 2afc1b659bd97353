"""A network of integers: layers in order, exact evaluation, and the two files that keep it.

``network.json`` says everything but arrays, which stand in ``weights.npz`` beside it under the names by which the JSON
has them.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from agent.runtimes._fixed.formats import dequantize, quantize
from agent.runtimes._fixed.host import After, Before, Port, applied
from agent.runtimes._fixed.host import cast as cast_to
from agent.runtimes._fixed.layers import AnyLayer, Tensor, run_layer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.runtimes._fixed.formats import Codes

NETWORK_FILE = "network.json"
WEIGHTS_FILE = "weights.npz"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_IDENTITY_BYTES = 8


class Network(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What an FPGA computes, and what the host does before and after."""

    input: Tensor
    """What enters the FPGA."""
    layers: tuple[AnyLayer, ...]
    """In an order in which each one's sources are there before it; a chain, or a graph without cycles."""
    output: Tensor
    """What leaves the FPGA: the output of a layer."""
    accepts: Port
    """The model's input."""
    returns: Port
    """The model's output."""
    before: tuple[Before, ...] = ()
    """What the host does to the input before it quantizes it."""
    after: tuple[After, ...] = ()
    """What the host does to the values that the output's codes stand for."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name."""
        return {self.input.name: self.input, **{layer.output.name: layer.output for layer in self.layers}}

    def sources(self, layer: AnyLayer) -> tuple[Tensor, ...]:
        """What a layer reads."""
        known = self.tensors()
        return tuple(known[name] for name in layer.sources)

    def trace(self, codes: Codes) -> dict[str, Codes]:
        """The codes of every tensor by its name, each of shape (samples, *shape), for those of the input.

        Raises:
            ValueError: the codes are not of the input's shape, or not in its format.
        """
        self._check(codes)
        known = self.tensors()
        found = {self.input.name: codes}
        for layer in self.layers:
            sources = [known[name] for name in layer.sources]
            found[layer.output.name] = run_layer(layer, sources, [found[name] for name in layer.sources])
        return found

    def run(self, codes: Codes) -> Codes:
        """The output's codes, shape (samples, *shape), for those of the input.

        Raises:
            ValueError: the codes are not of the input's shape, or not in its format.
        """
        return self.trace(codes)[self.output.name]

    def encode(self, values: NDArray[np.generic]) -> Codes:
        """The input's codes for the model's input, shape (samples, *shape).

        Raises:
            ValueError: a value is NaN, or the shape is another.
        """
        if values.shape[1:] != self.accepts.shape:
            raise ValueError(
                f"shape of input '{self.accepts.name}' does not match: expected {['samples', *self.accepts.shape]}, "
                f"got {list(values.shape)}"
            )
        ready = applied(self.before, values.astype(np.float64))
        return quantize(ready, self.input.format).reshape(len(values), *self.input.shape)

    def decode(self, codes: Codes) -> NDArray[np.generic]:
        """The model's output for the output's codes."""
        return cast_to(applied(self.after, dequantize(codes, self.output.format)), self.returns)

    def predict(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """The model's output for its input, all computed here.

        Raises:
            ValueError: a value is NaN, or the shape is another.
        """
        return self.decode(self.run(self.encode(values)))

    def _check(self, codes: Codes) -> None:
        if codes.shape[1:] != self.input.shape:
            raise ValueError(
                f"codes have another shape: expected {['samples', *self.input.shape]}, got {list(codes.shape)}"
            )
        form = self.input.format
        if codes.size and (codes.min() < form.low or codes.max() > form.high):
            raise ValueError(f"codes leave the format {form}: expected {form.low} to {form.high}")


def network_digest(folder: Path) -> bytes:
    """SHA-256 of the network that stands in a folder: of its JSON, then of its arrays."""
    digest = hashlib.sha256()
    for name in (NETWORK_FILE, WEIGHTS_FILE):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.digest()


def network_identity(folder: Path) -> bytes:
    """The first 8 bytes of the digest, by which a board says what it computes."""
    return network_digest(folder)[:_IDENTITY_BYTES]


def write_network(network: Network, folder: Path) -> None:
    """Write ``network.json`` and ``weights.npz`` into a folder; the same network gives the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {}

    def name_of(array: NDArray[np.generic]) -> str:
        name = f"a{len(arrays):04}"
        arrays[name] = array
        return name

    text = msgspec.json.format(msgspec.json.encode(network, enc_hook=name_of), indent=1)
    (folder / NETWORK_FILE).write_bytes(text + b"\n")
    write_arrays(folder / WEIGHTS_FILE, arrays)


def read_network(folder: Path) -> Network:
    """The network whose files stand in a folder.

    Raises:
        ValueError: a file is not what it should be; the message says what is wrong.
    """
    try:
        with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"'{WEIGHTS_FILE}' is not readable: {error}") from error

    def array_of(_: type, name: object) -> NDArray[np.generic]:
        if not isinstance(name, str) or name not in arrays:
            raise ValueError(f"'{WEIGHTS_FILE}' has no array {name!r}")
        array: NDArray[np.generic] = arrays[name]
        return array.astype(np.int64) if array.dtype.kind in "iu" else array

    try:
        return msgspec.json.decode((folder / NETWORK_FILE).read_bytes(), type=Network, dec_hook=array_of)
    except msgspec.DecodeError as error:
        raise ValueError(f"'{NETWORK_FILE}' is not readable: {error}") from error


def write_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write a compressed npz whose bytes depend on the arrays alone; integers in the smallest type that holds them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            stream = io.BytesIO()
            np.lib.format.write_array(stream, _smallest(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, stream.getvalue())


def _smallest(array: NDArray[np.generic]) -> NDArray[np.generic]:
    array = np.ascontiguousarray(array)
    if array.dtype.kind != "i" or not array.size:
        return array
    integers = cast("NDArray[np.int64]", array)
    kind = np.promote_types(np.min_scalar_type(int(integers.min())), np.min_scalar_type(int(integers.max())))
    return integers.astype(kind if kind.kind in "iu" else np.int64)
