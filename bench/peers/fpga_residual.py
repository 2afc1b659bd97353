"""Trains a residual network of the shape of MLPerf Tiny's, on scikit-learn's digits, and writes it as ONNX.

    PYTHON bench/peers/fpga_residual.py DATA.npz MODEL.onnx

PYTHON has torch and onnx. DATA.npz has `x`, (samples, 1, 8, 8), and `y`. MLPerf Tiny's net for image classification has
widths of 16, 32 and 64 on pictures of 32 x 32; this one has 8, 16 and 32 on 8 x 8.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

WIDTHS = (8, 16, 32)
ROUNDS = 60


class Block(nn.Module):
    """Two convolutions and the way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both ways, added up."""
        return torch.relu(self.body(x) + self.around(x))


def main(data: str, path: str) -> None:
    """Train on all samples of the file, always the same way."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    held = np.load(data)
    x, y = torch.from_numpy(held["x"]), torch.from_numpy(held["y"])
    first = nn.Sequential(nn.Conv2d(1, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
    blocks = [Block(WIDTHS[0], WIDTHS[0], 1), Block(WIDTHS[0], WIDTHS[1], 2), Block(WIDTHS[1], WIDTHS[2], 2)]
    net = nn.Sequential(first, *blocks, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(WIDTHS[2], 10))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, ROUNDS * (len(x) // 64))
    for _ in range(ROUNDS):
        order = torch.randperm(len(x))
        for step in range(len(x) // 64):
            chosen = order[64 * step : 64 * step + 64]
            loss = nn.functional.cross_entropy(net(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    torch.onnx.export(net, (x[:1],), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])


if __name__ == "__main__":
    main(*sys.argv[1:])
