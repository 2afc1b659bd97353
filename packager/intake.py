"""A model as its importer read it, made what ``pack.toml`` declares of it: this is what targets get."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import msgspec

from manifests.pipeline import Declaration, DeclaredInput
from packager.fusing import fuse_input
from packager.inputs import declare_inputs
from packager.measures.running import SourceModel, call_size, run_all
from packager.pipeline import layout_of, make_pipeline, prepare_input
from packager.signatures import declare, declared_signature, model_signature

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from manifests.manifest import TensorSection
    from manifests.pipeline import InputPipeline, PipelineSection
    from packager.declarations import Declared
    from packager.importers._importer import Arrays, Imported

FUSED_TOLERANCE = 1e-4
"""The largest difference that fusing may make, relative to the largest output: float32 rounds elsewhere."""


class Taken:
    """An imported model with all that is declared of it."""

    def __init__(self, imported: Imported, declared: Declared) -> None:
        """The importer's model is changed.

        Raises:
            ConfigError: what is declared does not fit the model.
            ConversionError: it can't be fused.
        """
        self.model = imported.model
        self._predict = imported.predict
        declare(self.model, Declaration())
        found = declare_inputs(self.model, declared.inputs)
        self._constants = found.constants
        known = Declaration(inputs=found.inputs, maximum=found.maximum)
        self._signature = declared_signature(model_signature(self.model), known)
        """Of the model before anything is fused."""
        pipeline = make_pipeline(declared, self._signature)
        known = self._with_layouts(known, pipeline)
        self._fused: dict[str, tuple[InputPipeline, TensorSection]] = {}
        self._unfused: onnx.ModelProto | None = None
        if declared.pipeline.fuse:
            known, pipeline = self._fuse(known, pipeline)
        self.declaration = msgspec.structs.replace(known, pipeline=pipeline)
        declare(self.model, self.declaration)

    @property
    def fused(self) -> bool:
        """Whether steps of the pipeline became nodes."""
        return bool(self._fused)

    def expected(self, inputs: Arrays, scratch: Path) -> Arrays | None:
        """What should come out: the framework's own predictions, on inputs that numpy prepared where steps are fused.

        None: the framework is ONNX, and nothing is fused. `scratch` may be written to.
        """
        import numpy as np

        if self._predict is None and self._unfused is None:
            return None
        prepared = dict(inputs)
        for name, (step, entry) in self._fused.items():
            prepared[name] = prepare_input(step, entry, inputs[name])
        if self._predict is not None:
            count = len(next(iter(inputs.values())))
            for name, value in self._constants.items():
                prepared[name] = np.broadcast_to(value, (count, *value.shape[1:])) if value.ndim else value
            return self._predict(prepared)
        if self._unfused is None:
            return None
        path = scratch / "unfused.onnx"
        path.write_bytes(self._unfused.SerializeToString())
        try:
            return run_all(SourceModel(path), prepared, call_size(self._signature))
        finally:
            path.unlink()

    def _with_layouts(self, known: Declaration, pipeline: PipelineSection) -> Declaration:
        """The layouts of pictures too, which nobody needs to write."""
        inputs = dict(known.inputs)
        layouts = {step.input: layout_of(step, self._entry(step.input)) for step in pipeline.inputs}
        for name, layout in layouts.items():
            if layout:
                entry = self._entry(name)
                inputs[name] = DeclaredInput(layout=layout, range=entry.range)
        known = msgspec.structs.replace(known, inputs=inputs)
        self._signature = declared_signature(self._signature, known)
        return known

    def _fuse(self, known: Declaration, pipeline: PipelineSection) -> tuple[Declaration, PipelineSection]:
        inputs, steps = dict(known.inputs), []
        for step in pipeline.inputs:
            if not (step.dtype or step.layout or step.scale or step.mean or step.std):
                steps.append(step)
                continue
            if self._unfused is None and self._predict is None:
                self._unfused = copy.deepcopy(self.model)
            entry = self._entry(step.input)
            left, raw = fuse_input(self.model, step, entry)
            self._fused[step.input] = (step, entry)
            inputs[step.input] = raw
            steps.append(left)
        pipeline = msgspec.structs.replace(pipeline, inputs=tuple(steps))
        return msgspec.structs.replace(known, inputs=inputs), pipeline

    def _entry(self, name: str) -> TensorSection:
        return next(entry for entry in self._signature.inputs if entry.name == name)
