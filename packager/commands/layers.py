"""How `pack inspect` shows what a shipped file is made of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from packager.console import Output, console, headline
from packager.errors import ConfigError
from terminal.tables import indented, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifests.bundle import Bundle
    from targets._composition import Composition, Layer

_SHOWN = 5
"""Layers, kinds or names that people are shown in one line."""
_SHARE = 0.01
"""Of all weights, that a layer must have to be named in the summary."""


def summary(composition: Composition) -> Iterable[tuple[str, str]]:
    """Counts by operator and precision, the largest layers, and what a unit does not take."""
    layers = composition.layers
    yield "operators", _counted(Counter(layer.operator for layer in layers))
    yield "precision", _counted(Counter(layer.precision for layer in layers if layer.precision))
    total = sum(layer.weight_bytes for layer in layers)
    yield "weights", _size(total) if total else ""
    large = [layer for layer in _largest(layers)[:_SHOWN] if layer.weight_bytes > total * _SHARE]
    for layer in large:
        yield "largest", f"{layer.name}: {_size(layer.weight_bytes)}, {layer.operator}"
    for remark in composition.remarks:
        count = len(remark.layers)
        named = ", ".join(remark.layers[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
        yield f"not by {remark.unit}", f"{remark.reason}: {named} ({remark.source})"


def show_layers(composition: Composition | None, bundle: Bundle, output: Output) -> None:
    """Print every layer; as JSON the whole composition, with ``tag`` one name a line.

    Raises:
        ConfigError: the target says nothing of its layers, or is not installed here.
    """
    if composition is None:
        raise ConfigError(
            "inspect.layers",
            f"nothing is known of the layers of '{bundle.reference}'",
            hint=f"pack targets says whether '{bundle.manifest.bundle.target}' is installed here",
        )
    if output is Output.JSON:
        import msgspec

        console.print_encoded(msgspec.json.encode(composition))
    elif output is Output.TAG:
        for layer in composition.layers:
            console.print_line(layer.name)
    else:
        rows = table("layer", "operator", "precision", "weights", "not by", right=("weights",))
        units = dict(_units(composition))
        for layer in _largest(composition.layers):
            size = _size(layer.weight_bytes) if layer.weight_bytes else ""
            rows.add_row(layer.name, layer.operator, layer.precision, size, units.get(layer.name, ""))
        console.print_result(*headline(bundle.reference, bundle.digest), indented(rows))


def _largest(layers: Iterable[Layer]) -> list[Layer]:
    return sorted(layers, key=lambda layer: -layer.weight_bytes)


def _units(composition: Composition) -> Iterator[tuple[str, str]]:
    for remark in composition.remarks:
        for name in remark.layers:
            yield name, remark.unit


def _counted(counts: Counter[str]) -> str:
    most = counts.most_common()
    rest = len(most) - _SHOWN
    shown = ", ".join(f"{count} {name}" for name, count in most[:_SHOWN])
    return shown + (f" and {rest} more kinds" if rest > 0 else "")


def _size(size: int) -> str:
    from packager.quantities import quantity_text

    return quantity_text(size, "bytes")
