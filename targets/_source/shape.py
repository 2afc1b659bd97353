"""The shape of a tensor whose every dimension is a number."""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
