"""What a bundle's shipped file is made of, said by its target."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.bundle import unpack
from manifests.errors import ManifestError
from packager.availability import availability
from packager.errors import ConfigError, SignatureError
from packager.opening import artifact_of
from packager.registry import find_target
from targets._composition import Composed

if TYPE_CHECKING:
    from manifests.bundle import Bundle
    from manifests.layout import Layout
    from targets._composition import Composition


def composition_of(layout: Layout, bundle: Bundle) -> Composition | None:
    """The composition; None where the target says none, or is not installed here.

    Raises:
        SignatureError: a file of the bundle is missing or damaged.
        TargetError: the target can't read its file.
    """
    try:
        _, target = find_target(bundle.manifest.bundle.target)
    except ConfigError:
        return None  # of a plug-in that is not installed here
    if not isinstance(target, Composed) or not availability(target).available:
        return None
    with tempfile.TemporaryDirectory(prefix="pack-inspect-") as name:
        try:
            unpack(layout, bundle, Path(name))
        except ManifestError as error:
            raise SignatureError(error.code, str(error), hint=error.hint) from error
        return target.composition(artifact_of(bundle.manifest), Path(name))
