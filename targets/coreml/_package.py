"""The program as a package on disk, the same bytes for the same program."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from targets.coreml._coremltools import coremltools, part
from targets.coreml._dimensions import describe
from targets.coreml._pictures import describe_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from targets.coreml._border import Feature
    from targets.coreml._dimensions import Freedom
    from targets.coreml._lowering import Lowered

PACKAGE = "model.mlpackage"
NAMES = "packtrain.names"
"""The entry of the model's metadata that says how inputs and outputs are called in the source model."""
STATES = "packtrain.states"
"""The entry that says which output of the source model each state is."""
_INSIDE = "com.apple.CoreML"
_AUTHOR = "com.apple.CoreML"
RELEASES = {"ios15": 6, "ios16": 7, "ios17": 8, "ios18": 9}
"""Core ML's specification version for each release."""


def write_package(functions: Mapping[str, Lowered], minimum: str, free: Mapping[str, Freedom], folder: Path) -> Path:
    """The package, written below `folder`: of one function, or of several that share their weights, the default first.

    `free` says what the dimensions that are free may be.
    """
    package = folder / PACKAGE
    inside = package / "Data" / _INSIDE
    weights = inside / "weights"
    weights.mkdir(parents=True)
    load = part("converters.mil.backend.mil.load").load
    first = next(iter(functions.values()))
    classifier = None
    if first.labels is not None:
        classifier = coremltools().ClassifierConfig(
            list(first.labels.names), predicted_probabilities_output=first.labels.output
        )
    release = RELEASES[minimum]
    program = _joined(functions) if len(functions) > 1 else first.program
    model = load(program, str(weights), specification_version=release, classifier_config=classifier)
    described = {each.name: each for each in model.description.functions} or dict.fromkeys(functions, model.description)
    for name, lowered in functions.items():
        describe(described[name], lowered.inputs, free, minimum)
        describe_pictures(described[name], lowered.inputs)
    states = {each.name: each.source for each in first.outputs if each.is_state}
    if states:
        model.description.metadata.userDefined[STATES] = json.dumps(states, sort_keys=True)
    renamed = _renamed([*first.inputs, *(each for each in first.outputs if not each.is_state)])
    if renamed:
        model.description.metadata.userDefined[NAMES] = json.dumps(renamed, sort_keys=True)
    (inside / "model.mlmodel").write_bytes(model.SerializeToString(deterministic=True))
    items = [("model.mlmodel", "CoreML Model Specification")]
    if any(weights.iterdir()):
        items.append(("weights", "CoreML Model Weights"))
    else:
        weights.rmdir()
    (package / "Manifest.json").write_text(_manifest(items))
    return package


def _joined(functions: Mapping[str, Lowered]) -> Any:  # noqa: ANN401 - a MIL program
    """One program of all functions, in which equal constants are stored once."""
    program = part("converters.mil.mil").Program()
    for name, lowered in functions.items():
        program.add_function(name, lowered.program.functions["main"])
    program.default_function_name = next(iter(functions))
    program.export_as_multifunction = True
    registry = part("converters.mil.mil.passes.pass_registry").PASS_REGISTRY
    sharing = registry["common::const_deduplication"]
    sharing._deduplicate_const_across_functions(program)  # noqa: SLF001 - as coremltools.utils.save_multifunction does
    return program


def _renamed(features: Sequence[Feature]) -> dict[str, str]:
    return {feature.name: feature.source for feature in features if feature.name != feature.source}


def _manifest(items: Sequence[tuple[str, str]]) -> str:
    """The package's list of what is in it, whose identifiers follow from the names."""
    entries = {
        _identifier(name): {
            "author": _AUTHOR,
            "description": description,
            "name": name,
            "path": f"{_INSIDE}/{name}",
        }
        for name, description in items
    }
    document = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier(items[0][0]),
    }
    return json.dumps(document, indent=4, sort_keys=True) + "\n"


def _identifier(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:packtrain:coreml:{name}")).upper()


def read_specification(package: Path) -> Any:  # noqa: ANN401 - a protobuf message of coremltools
    """The model's specification, parsed from the package's own file."""
    model = coremltools().proto.Model_pb2.Model()
    model.ParseFromString((package / "Data" / _INSIDE / "model.mlmodel").read_bytes())
    return model
