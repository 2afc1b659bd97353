from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from manifests.errors import InvalidManifestError
from manifests.manifest import BaselineSection, decode_manifest, encode_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifests.manifest import FeatureBaseline, Manifest

replace = msgspec.structs.replace


def _file(manifest: Manifest, position: int, **changes: str) -> Manifest:
    files = list(manifest.files)
    files[position] = replace(files[position], **changes)
    return replace(manifest, files=tuple(files))


def _feature(manifest: Manifest, change: Callable[[FeatureBaseline], tuple[FeatureBaseline, ...]]) -> Manifest:
    assert manifest.baseline is not None
    features = change(manifest.baseline.features[0])
    return replace(manifest, baseline=replace(manifest.baseline, features=features))


def _predictions(manifest: Manifest, **changes: object) -> Manifest:
    assert manifest.baseline is not None
    assert manifest.baseline.predictions is not None
    predictions = replace(manifest.baseline.predictions, **changes)
    return replace(manifest, baseline=replace(manifest.baseline, predictions=predictions))


def _twice(manifest: Manifest, section: str) -> Manifest:
    signature = manifest.signature
    return replace(manifest, signature=replace(signature, **{section: getattr(signature, section) * 2}))


BREACHES: dict[str, tuple[str, Callable[[Manifest], Manifest]]] = {
    "4.1 one path twice, in another case": ("manifest.file", lambda m: _file(m, 1, path="MODEL.onnx")),
    "4.1 a file that is also a folder": ("manifest.file", lambda m: _file(m, 1, path="model.onnx/samples.npz")),
    "4.2 an entry that is no file": (
        "manifest.file",
        lambda m: replace(m, runtime=replace(m.runtime, entry="other.onnx")),
    ),
    "4.2 no golden file": ("manifest.file", lambda m: _file(m, 1, role="other")),
    "4.3 two inputs of one name": ("manifest.signature", lambda m: _twice(m, "inputs")),
    "4.3 two outputs of one name": ("manifest.signature", lambda m: _twice(m, "outputs")),
    "4.3 two gates of one name": ("manifest.gates", lambda m: replace(m, gates=m.gates * 2)),
    "4.4 a task without its output": (
        "manifest.task",
        lambda m: replace(m, model=replace(m.model, task=replace(m.model.task, output="other"))),
    ),
    "4.4 parity of no output": (
        "manifest.parity",
        lambda m: replace(m, parity=replace(m.parity, outputs=(replace(m.parity.outputs[0], output="other"),))),
    ),
    "4.4 predictions of no output": ("manifest.baseline", lambda m: _predictions(m, output="other")),
    "4.5 a feature of no input": ("manifest.baseline", lambda m: _feature(m, lambda f: (replace(f, input="other"),))),
    "4.5 a feature twice": ("manifest.baseline", lambda m: _feature(m, lambda f: (f, f))),
    "4.5 edges that fall": ("manifest.baseline", lambda m: _feature(m, lambda f: (replace(f, edges=(1.5, 0.5)),))),
    "4.5 edges that stand still": (
        "manifest.baseline",
        lambda m: _feature(m, lambda f: (replace(f, edges=(0.5, 0.5)),)),
    ),
    "4.5 a count too many": (
        "manifest.baseline",
        lambda m: _feature(m, lambda f: (replace(f, counts=(1, 2, 3, 4)),)),
    ),
    "4.5 other than one count a label": ("manifest.baseline", lambda m: _predictions(m, counts=(1, 2, 3))),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_manifest_that_contradicts_itself_is_refused(manifest: Manifest, breach: str) -> None:
    """SPEC 4."""
    code, change = BREACHES[breach]
    with pytest.raises(InvalidManifestError) as caught:
        decode_manifest(encode_manifest(change(manifest)))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, baseline=None),
        lambda m: replace(m, baseline=BaselineSection(samples=3)),
        lambda m: _predictions(replace(m, model=replace(m.model, task=replace(m.model.task, labels=()))), counts=(1,)),
        lambda m: replace(m, model=replace(m.model, task=replace(m.model.task, output=""))),
    ],
    ids=["no baseline", "baseline without features", "no labels to count", "task without output"],
)
def test_what_says_less_contradicts_nothing(manifest: Manifest, change: Callable[[Manifest], Manifest]) -> None:
    changed = change(manifest)
    assert decode_manifest(encode_manifest(changed)) == changed
