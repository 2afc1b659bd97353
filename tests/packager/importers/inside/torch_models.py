"""Runs in PyTorch's environment: writes the models that tests import, each under its name."""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.export import Dim

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = {0: Dim("batch")}


class Several(nn.Module):
    """Two inputs, and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(7, 3)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        joined = torch.cat([first, second], 1)
        return {"scores": torch.softmax(self.line(joined), -1), "sum": joined.sum(1)}


class Recurrent(nn.Module):
    """An LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(3, 5, batch_first=True)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return self.layer(steps)[0]


class Branching(nn.Module):
    """Control flow, which a trace would lose."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return x * 2
        return x - 1


class Counting(nn.Module):
    """An input that is no tensor."""

    def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return x * times


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def write_program(path: Path, module: nn.Module, samples: tuple[torch.Tensor, ...], shapes: object) -> None:
    torch.export.save(torch.export.export(module.eval(), samples, dynamic_shapes=shapes), path)


def rewrite(path: Path, target: Path, member: str, change: Callable[[dict[str, object]], None]) -> None:
    """The program, with a description in it changed."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as sink:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(member):
                described = json.loads(content)
                change(described)
                content = json.dumps(described).encode()
            sink.writestr(name, content)


def call_system(program: dict[str, object]) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"


def evaluate(program: dict[str, object]) -> None:
    sizes = program["graph_module"]["graph"]["tensor_values"]["first"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = "__import__('os').system('true')"


def name_class(program: dict[str, object]) -> None:
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    signature["out_spec"] = signature["out_spec"].replace("builtins.dict", "collections.defaultdict")


def unpickle(config: dict[str, object]) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def write_programs(folder: Path) -> None:
    write_program(folder / "convolution.pt2", convolution(), (torch.randn(2, 3, 8, 8),), (BATCH,))
    write_program(folder / "several.pt2", Several(), (torch.randn(2, 4), torch.randn(2, 3)), (BATCH, BATCH))
    write_program(folder / "recurrent.pt2", Recurrent(), (torch.randn(2, 6, 3),), (BATCH,))
    free = {0: Dim("batch"), 2: Dim("length")}
    write_program(folder / "signal.pt2", nn.Conv1d(2, 3, 3, padding=1), (torch.randn(2, 2, 9),), (free,))
    write_program(folder / "fixed.pt2", nn.Linear(4, 2), (torch.randn(1, 4),), None)
    described, weights = "models/model.json", "weights/model_weights_config.json"
    rewrite(folder / "several.pt2", folder / "system.pt2", described, call_system)
    rewrite(folder / "several.pt2", folder / "evaluated.pt2", described, evaluate)
    rewrite(folder / "several.pt2", folder / "class.pt2", described, name_class)
    rewrite(folder / "several.pt2", folder / "pickled.pt2", weights, unpickle)
    content = (folder / "several.pt2").read_bytes()
    (folder / "cut.pt2").write_bytes(content[: len(content) // 2])


def write_scripts(folder: Path) -> None:
    torch.jit.trace(convolution().eval(), torch.randn(2, 3, 8, 8)).save(folder / "traced.pt")
    torch.jit.script(Branching()).save(folder / "branching.pt")
    torch.jit.script(Counting()).save(folder / "counting.pt")


def write_weights(folder: Path) -> None:
    torch.save(convolution().state_dict(), folder / "state.pt")
    torch.save(convolution(), folder / "module.pt")
    torch.save(convolution().state_dict(), folder / "legacy.pth", _use_new_zipfile_serialization=False)


def write_facenet(folder: Path, package: Path) -> None:
    """RNet of facenet-pytorch with its trained weights; its module asks for torchvision, which the class does not."""
    parsed = ast.parse((package / "models" / "mtcnn.py").read_text())
    parsed.body = [node for node in parsed.body if isinstance(node, ast.ClassDef) and node.name == "RNet"]
    names: dict[str, object] = {"nn": nn, "torch": torch, "np": np}
    exec(compile(parsed, "mtcnn.py", "exec"), names)  # noqa: S102 - a class of the package under test
    net = names["RNet"](pretrained=False).eval()
    net.load_state_dict(torch.load(package / "data" / "rnet.pt", weights_only=True))
    write_program(folder / "facenet.pt2", net, (torch.randn(2, 3, 24, 24),), (BATCH,))


def write_models(folder: Path, *packages: Path) -> None:
    torch.manual_seed(7)
    write_programs(folder)
    write_scripts(folder)
    write_weights(folder)
    for package in packages:
        write_facenet(folder, package)


if __name__ == "__main__":
    write_models(*map(Path, sys.argv[1:]))
