"""``[model.pipeline]`` as the manifest has it, and its steps on tensors as numpy does them.

The numpy side is what a fused graph is compared with: SPEC 3.7.1 to 3.7.4.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.pipeline import InputPipeline, OutputPipeline, PipelineSection, ResizeSection, TokeniserSection
from packager.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manifests.manifest import SignatureSection, TaskSection, TensorSection
    from packager.declarations import Declared
    from packager.tables import InputPipelineTable, OutputPipelineTable

_PLANES = (1, 3, 4)
"""Channels of a picture: by them its axis is told from height and width."""
_MOST_LABELS = 10_000
"""More stay in their file: a manifest is small."""


def make_pipeline(declared: Declared, signature: SignatureSection) -> PipelineSection:
    """The section, its files by their paths in the bundle.

    Raises:
        ConfigError: it does not fit the model; the message names the field's path.
    """
    inputs = {entry.name: entry for entry in signature.inputs}
    outputs = {entry.name: entry for entry in signature.outputs}
    table = declared.pipeline
    for kind, named, known in (("inputs", table.inputs, inputs), ("outputs", table.outputs, outputs)):
        for name in named:
            if name not in known:
                raise ConfigError(
                    "config.pipeline",
                    f"'model.pipeline.{kind}.{name}': the model has no such {kind[:-1]}: "
                    f"expected one of {', '.join(known)}",
                )
    return PipelineSection(
        inputs=tuple(_before(step, inputs[name], declared) for name, step in table.inputs.items()),
        outputs=tuple(_after(step, outputs[name], declared) for name, step in table.outputs.items()),
    )


def layout_of(step: InputPipeline, entry: TensorSection) -> str:
    """The layout of the model's own tensor; of a picture, told by where its channels are.

    Empty where that can't be told.
    """
    if entry.layout or step.kind != "image":
        return entry.layout
    four = 4
    if len(entry.shape) != four:
        return ""
    first, last = entry.shape[1] in _PLANES, entry.shape[3] in _PLANES
    if first == last:
        return ""
    return "nchw" if first else "nhwc"


def complete_labels(task: TaskSection, pipeline: PipelineSection, declared: Declared) -> TaskSection:
    """The task with the labels of the pipeline, where its output has some and it has none."""
    if task.kind != "classification" or task.labels:
        return task
    for step in pipeline.outputs:
        if step.output == task.output:
            labels = step.labels or _file_labels(declared, step)
            return msgspec.structs.replace(task, labels=labels if len(labels) <= _MOST_LABELS else ())
    return task


def prepare_input(step: InputPipeline, entry: TensorSection, raw: NDArray[np.generic]) -> NDArray[np.generic]:
    """The model's tensor from raw values of the step's dtype and layout, all samples at once.

    `entry` is the model's own input, its layout filled in.
    """
    import numpy as np

    raw_layout = step.layout or entry.layout
    values = raw.astype(np.float64)
    for factors, combine in ((step.scale, np.multiply), (step.mean, np.subtract), (step.std, np.divide)):
        if factors:
            values = combine(values, along_channels(factors, raw_layout, raw.ndim))
    if step.layout:
        values = values.transpose([step.layout.index(axis) for axis in entry.layout])
    kind = np.dtype(entry.dtype)
    if kind.kind in "iu":
        values = np.rint(values)
    return np.ascontiguousarray(values.astype(kind))


def along_channels(factors: tuple[float, ...], layout: str, rank: int) -> NDArray[np.float64]:
    """The factors in the shape that reaches over a tensor's channels (SPEC 3.7.3)."""
    import numpy as np

    array = np.asarray(factors, dtype=np.float64)
    if len(factors) == 1:
        return array.reshape(())
    shape = [1] * rank
    shape[layout.index("c") if "c" in layout else rank - 1] = len(factors)
    return array.reshape(shape)


def _before(table: InputPipelineTable, entry: TensorSection, declared: Declared) -> InputPipeline:
    where = f"model.pipeline.inputs.{entry.name}"
    resize, tokeniser = table.resize, table.tokeniser
    step = InputPipeline(
        input=entry.name,
        kind=table.kind,
        tokeniser=TokeniserSection(
            file=declared.place(tokeniser.file),
            kind=tokeniser.kind,
            maximum=tokeniser.maximum,
            padding=tokeniser.padding,
        )
        if tokeniser
        else None,
        sample_rate=table.sample_rate,
        colour=table.colour,
        colour_space=table.colour_space,
        resize=ResizeSection(
            size=resize.size,
            mode=resize.mode,
            fit=resize.fit,
            crop=resize.crop,
            anchor=resize.anchor,
            pad=_numbers(resize.pad, f"{where}.resize.pad"),
        )
        if resize
        else None,
        dtype=None if table.dtype == entry.dtype else table.dtype,
        layout=table.layout,
        scale=_numbers(table.scale, f"{where}.scale"),
        mean=_numbers(table.mean, f"{where}.mean"),
        std=_numbers(table.std, f"{where}.std"),
    )
    if any(value <= 0 for value in step.std):
        raise ConfigError("config.pipeline", f"'{where}.std': expected more than 0, got {list(step.std)}")
    return _fitted(step, entry, where)


def _fitted(step: InputPipeline, entry: TensorSection, where: str) -> InputPipeline:
    """The step, its layouts and channels seen to fit the model's tensor; a raw layout that says nothing is left out."""
    own = layout_of(step, entry)
    if step.layout and not own:
        raise ConfigError(
            "config.pipeline",
            f"'{where}.layout': the model's own layout is not known",
            hint=f"give layout in [model.inputs.{entry.name}]",
        )
    if step.layout and (sorted(step.layout) != sorted(own) or len(set(step.layout)) != len(step.layout)):
        raise ConfigError("config.pipeline", f"'{where}.layout': expected the axes of '{own}', got '{step.layout}'")
    lengths = {len(factors) for factors in (step.scale, step.mean, step.std)} - {0, 1}
    axis = own.index("c") if "c" in own else len(entry.shape) - 1
    channels = entry.shape[axis] if entry.shape else 1
    for length in lengths:
        if len(lengths) > 1 or (isinstance(channels, int) and length != channels):
            raise ConfigError(
                "config.pipeline",
                f"'{where}': expected one number or {channels}, one a channel, in scale, mean and std, got {length}",
            )
    return msgspec.structs.replace(step, layout="") if step.layout == own else step


def _after(table: OutputPipelineTable, entry: TensorSection, declared: Declared) -> OutputPipeline:
    where = f"model.pipeline.outputs.{entry.name}"
    select = table.select
    for name in ("top", "threshold"):
        given = getattr(table, name) is not None
        if given and select not in ("", name):
            raise ConfigError("config.pipeline", f"'{where}.{name}': select is '{select}'")
        if given:
            select = name
        elif select == name:
            raise ConfigError("config.pipeline", f"'{where}.{name}' is missing")
    rank = len(entry.shape)
    if not -rank <= table.axis < max(rank, 1):
        raise ConfigError("config.pipeline", f"'{where}.axis': expected one of {rank} axes, got {table.axis}")
    step = OutputPipeline(
        output=entry.name,
        activation=table.activation,
        axis=table.axis,
        select=select,
        top=table.top,
        threshold=table.threshold,
        labels=() if isinstance(table.labels, str) else table.labels,
        labels_file=declared.place(table.labels) if isinstance(table.labels, str) else "",
    )
    labels = len(step.labels or _file_labels(declared, step))
    classes = entry.shape[step.axis] if entry.shape else 1
    if labels and isinstance(classes, int) and labels not in (classes, 2 if classes == 1 else classes):
        raise ConfigError("config.pipeline", f"'{where}.labels': expected {classes} labels, got {labels}")
    return step


def _file_labels(declared: Declared, step: OutputPipeline) -> tuple[str, ...]:
    """The labels in the step's file; none where it has no file."""
    entry = next((entry for entry in declared.files if entry.place == step.labels_file), None)
    if entry is None:
        return ()
    where = f"model.pipeline.outputs.{step.output}.labels"
    try:
        text = Path(entry.path).read_text(encoding="utf-8")
        if not entry.place.endswith(".json"):
            return tuple(text.splitlines())
        return msgspec.convert(json.loads(text), tuple[str, ...])
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ConfigError("config.pipeline", f"'{where}': '{entry.written}' is no list of labels: {error}") from error


def _numbers(written: float | str | tuple[float | str, ...], where: str) -> tuple[float, ...]:
    """Numbers as they are written: one or several, each a number or a fraction."""
    entries = written if isinstance(written, tuple) else (written,)
    try:
        return tuple(float(Fraction(entry)) for entry in entries)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(
            "config.pipeline", f"'{where}': expected numbers or fractions such as '1/255', got {written!r}"
        ) from error
