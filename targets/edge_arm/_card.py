"""The model card: what the file takes of a device, and what quantization did to it, layer by layer, with a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targets._target import Artifact
    from targets.edge_arm._choice import Choice
    from targets.edge_arm._sensitivity import Layer

_MOST_LAYERS = 20
_MOST_FILES = 40
_WIDTH, _HEIGHT, _EDGE = 640, 240, 40
_LOWEST = 1e-6
"""Errors below it are drawn at the foot of the picture."""


def card(choice: Choice, artifact: Artifact, picture: str) -> str:
    """The card's Markdown; `picture` is the name of the file that shows the layers."""
    parts = [_device(artifact), _quantization(choice), _layers(choice.layers, picture), _files(choice)]
    return "\n".join(line for part in parts for line in part) + "\n"


def _device(artifact: Artifact) -> Iterator[str]:
    resources = artifact.resources
    yield "# On a device"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name in artifact.hardware.architectures:
        yield f"| {name} | {_sets(artifact, name)} |"
    yield f"| file | {resources.disk_bytes:,} bytes |"
    for label, size in (("memory", resources.memory_bytes), ("of it, tensors", resources.arena_bytes)):
        if size is not None:
            yield f"| {label} | {size:,} bytes |"
    if resources.macs is not None:
        yield f"| multiplications | {resources.macs:,} |"
    if resources.delegation is not None:
        part = resources.delegation
        yield f"| {part.delegate} runs | {part.operations} of {part.total} operations |"
    yield f"| transposes | {resources.transposes} |"
    for name, count in resources.operations.items():
        yield f"| `{name}` | {count} |"


def _sets(artifact: Artifact, architecture: str) -> str:
    sets = artifact.hardware.instructions.get(architecture)
    if sets is None:
        return "any"
    parts = [f"needs {', '.join(sets.required)}"] if sets.required else []
    return "; ".join([*parts, f"faster with {', '.join(sets.used)}"] if sets.used else parts)


def _quantization(choice: Choice) -> Iterator[str]:
    if not choice.layers and choice.found is None:
        return
    yield ""
    yield "# Quantization"
    yield ""
    yield f"Scheme: {choice.scheme}, calibrated with {choice.section.calibration_samples} samples."
    for note in choice.notes:
        yield ""
        yield note[:1].upper() + note[1:] + "."


def _layers(layers: list[Layer], picture: str) -> Iterator[str]:
    if not layers:
        return
    ranked = sorted(layers, key=lambda layer: (-layer.added, layer.name))[:_MOST_LAYERS]
    yield ""
    yield "## Layers"
    yield ""
    yield f"![Error of each layer]({picture})"
    yield ""
    yield (
        "Each layer's result against the same layer in float, on calibration samples: root mean square of the "
        f"difference over that of the result. The {len(ranked)} of {len(layers)} that add most."
    )
    yield ""
    yield "| node | operator | error | added by it |"
    yield "|---|---|---|---|"
    for layer in ranked:
        yield f"| `{layer.source or layer.name}` | {layer.operator} | {layer.error:.2%} | {layer.added:.2%} |"


def _files(choice: Choice) -> Iterator[str]:
    if choice.found is None:
        return
    tried = choice.found.tried
    yield ""
    yield "## Files that were tried"
    yield ""
    yield "| file | bytes | error | classes changed | within the limits |"
    yield "|---|---|---|---|---|"
    chosen = choice.found.chosen
    ranked = sorted(tried, key=lambda each: (each is not chosen, each.size))
    for each in ranked[:_MOST_FILES]:
        changed = f"{each.score.changed} of {each.score.rows}" if each.score.rows else ""
        within = "yes" if each.accepted else "no"
        yield f"| {each.label} | {each.size} | {each.score.error:.2%} | {changed} | {within} |"
    if len(ranked) > _MOST_FILES:
        yield ""
        yield f"And {len(ranked) - _MOST_FILES} larger ones."


def picture(layers: list[Layer]) -> str:
    """The layers' errors in the order of execution, on a logarithmic scale, as SVG; what each adds is dark."""
    from math import log10

    top = max(0, *(log10(max(layer.error, _LOWEST)) for layer in layers))
    bottom = log10(_LOWEST)
    step = (_WIDTH - 2 * _EDGE) / max(len(layers), 1)

    def height(value: float) -> float:
        return (log10(max(value, _LOWEST)) - bottom) / (top - bottom) * (_HEIGHT - 2 * _EDGE)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="10">',
        "<title>Error of each layer</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for exponent in range(-6, int(top) + 1):
        y = _HEIGHT - _EDGE - height(10.0**exponent)
        parts.append(f'<line x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_EDGE - 4}" y="{y + 3:.1f}" text-anchor="end">1e{exponent}</text>')
    for colour, values in (
        ("#b8cbe6", [layer.error for layer in layers]),
        ("#27548a", [layer.added for layer in layers]),
    ):
        bars = (
            f"M{_EDGE + place * step:.0f} {_HEIGHT - _EDGE}v-{height(value):.0f}h{step * 0.8:.1f}v{height(value):.0f}z"
            for place, value in enumerate(values)
        )
        parts.append(f'<path fill="{colour}" d="{"".join(bars)}"/>')
    parts.append(
        f'<text x="{_EDGE}" y="{_HEIGHT - 14}">layers in the order of execution; light: error, dark: added by it</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
