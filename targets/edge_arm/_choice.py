"""From the option `quantize` to a file: by one scheme, or the one that the search chose; and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from manifests.manifest import QuantizationSection
from targets.edge_arm._quantization import Network, Plan, calibration_samples, quantized
from targets.edge_arm._recipe import CALIBRATED
from targets.edge_arm._search import Limits, search
from targets.edge_arm._sensitivity import layers, worst

if TYPE_CHECKING:
    from targets._target import Arrays
    from targets.edge_arm import Options
    from targets.edge_arm._graph import Graph
    from targets.edge_arm._observation import Sample
    from targets.edge_arm._quantization import Quantized
    from targets.edge_arm._recipe import Scheme
    from targets.edge_arm._search import Found
    from targets.edge_arm._sensitivity import Layer

_SLOW_SAMPLES = 1
"""Samples that layers of int16 are compared on: their kernels are some 30 times slower."""
_PARITY: dict[str, tuple[Literal["max", "rms"], float]] = {
    "none": ("max", 1e-4),
    "float16": ("rms", 0.01),
    "dynamic-int8": ("rms", 0.05),
    "int8": ("rms", 0.05),
    "int8-io": ("rms", 0.05),
    "int16x8": ("rms", 0.05),
    "int4-weights": ("rms", 0.2),
}
"""Measure and default limit of the parity gate, see the reference."""
_TOLERANCE = {
    "none": (1e-3, 1e-5),
    "float16": (1e-2, 1e-3),
    "dynamic-int8": (0.05, 0.05),
    "int8-weights": (1e-2, 1e-3),
    "int8": (0.05, 0.05),
    "int8-io": (0.0, 3.0),
    "int16x8": (0.02, 0.02),
    "int4-weights": (1e-2, 1e-3),
}
"""What another machine's kernels may differ by from this one's, on the same file: (rtol, atol), of stored values."""


class Choice(NamedTuple):
    """The file, and what the manifest says of it."""

    made: Quantized
    section: QuantizationSection
    parity: tuple[Literal["max", "rms"], float]
    layers: list[Layer]
    """Against float; none where nothing was quantized, or where there is no calibration data."""
    notes: tuple[str, ...] = ()
    found: Found | None = None
    """What the search tried, under ``auto``."""

    @property
    def scheme(self) -> Scheme:
        """What the file was quantized by, all in all."""
        return self.made.plan.scheme

    @property
    def tolerance(self) -> tuple[float, float]:
        """Relative and absolute, of golden samples on another machine."""
        return _TOLERANCE[self.scheme]

    @property
    def worst_layer(self) -> str:
        """The node of the source model whose result lost most, and the operator that computes it."""
        layer = worst(self.layers)
        return f"{layer.source or layer.name} ({layer.operator})" if layer else ""


def choose(graph: Graph, options: Options, calibration: Arrays | None) -> Choice:
    """The file of a graph by the option `quantize`.

    Raises:
        TargetError: calibration data is missing or does not fit, the quantizer gives up, or LiteRT does not run what
            it makes.
    """
    scheme = options.quantize
    asked = scheme == "auto" or scheme in CALIBRATED
    samples = calibration_samples(graph, calibration) if asked or (calibration and scheme != "none") else []
    if scheme == "auto":
        limits = Limits(options.auto_error, options.auto_drop, options.optimize, options.device == "mcu")
        return _searched(graph, samples, limits)
    network = Network(graph, samples)
    made = quantized(network, Plan(scheme))
    notes = _kept(network, made)
    section = QuantizationSection(scheme=scheme, calibration_samples=len(samples) if asked else 0)
    if scheme == "int8-io":
        network = Network(graph, samples)  # moves may have been put before outputs
    compared = _compared(network, made)
    return Choice(made, section, _PARITY[scheme], compared, notes)


def _searched(graph: Graph, samples: list[Sample], limits: Limits) -> Choice:
    found = search(graph, samples, limits)
    made = found.chosen.made
    section = QuantizationSection(scheme=made.plan.scheme, calibration_samples=len(samples))
    parity = _PARITY["none"] if made.plan.scheme == "none" else ("rms", limits.error)
    return Choice(made, section, parity, _compared(found.chosen.network, made), (found.why,), found)


def _compared(network: Network, made: Quantized) -> list[Layer]:
    if made.plan.scheme == "none" or not network.samples:
        return []
    count = _SLOW_SAMPLES if made.plan.scheme == "int16x8" else len(network.samples)
    return layers(network, made.data, network.samples[:count])


def _kept(network: Network, made: Quantized) -> tuple[str, ...]:
    """What stays in float for no choice of the user's."""
    operators = sorted({network.layers[name].code for name in made.plan.spared.kept if name in network.layers})
    if not operators:
        return ()
    count, named = len(made.plan.spared.kept), ", ".join(operators)
    return (f"LiteRT does not run {count} results in integers, which stay in float: {named}",)
