"""The pipeline: fetch, import, prepare, convert, measure, gate, bundle, sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from manifests.manifest import Manifest
from packager.errors import PackError
from packager.gates import GateResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import CryptoSigner

    from packager.config import Project

Step: TypeAlias = Literal["fetch", "import", "convert", "gate", "bundle", "sign"]
"""``convert`` stands for preparing, converting, loading back and measuring: one job, one cache entry."""


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a target's build."""

    step: Step
    cached: bool


class TargetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What building one target would do."""

    target: str
    reference: str
    """``name:version@target``."""
    cached: bool
    """Whether no worker would be started."""
    steps: tuple[PlannedStep, ...]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A target whose bundle stands in the store."""

    target: str
    reference: str
    digest: str
    """Of the OCI manifest."""
    cached: bool
    """Whether no conversion was done."""
    signed: bool
    gates: tuple[GateResult, ...]
    manifest: Manifest
    notes: tuple[str, ...] = ()
    """What the target's converter wants known."""
    seconds: float


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A target without a bundle."""

    target: str
    error: PackError
    gates: tuple[GateResult, ...] = ()


Outcome: TypeAlias = Built | Failed


class Progress(Protocol):
    """Is told what happens; called from several threads."""

    def started(self, target: str, step: Step) -> None:
        """A step begins; `target` is empty for the steps that all targets share."""
        ...

    def finished(self, target: str, step: Step, seconds: float, *, cached: bool) -> None:
        """A step ended well."""
        ...


def plan(project: Project, names: Sequence[str] = ()) -> tuple[TargetPlan, ...]:
    """What `build` would do; the source's version is asked for, nothing else is done.

    Raises:
        PackError: the source can't be found, or a name is not one of the project's targets.
    """
    raise NotImplementedError


def build(
    project: Project,
    names: Sequence[str] = (),
    *,
    jobs: int = 0,
    keep_going: bool = False,
    progress: Progress | None = None,
    signer: CryptoSigner | None = None,
) -> tuple[Outcome, ...]:
    """The named targets, or all, built; in the project's order.

    `jobs` targets are built at once (0: as many as there are processors). After a failure, the targets that were not
    begun are left out of the result unless `keep_going` says otherwise. Without a `signer` the bundles stay unsigned.

    Raises:
        PackError: what all targets share (source, import, data) failed, or a name is not one of the project's targets.
    """
    raise NotImplementedError
