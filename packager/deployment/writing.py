"""The files of one platform, written below a folder."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from manifests.bundle import read_bundle, unpack
from manifests.errors import ManifestError
from packager.deployment.subject import Subject
from packager.errors import ConfigError, SignatureError
from packager.opening import newest_reference
from packager.store import find_layout
from packager.verification import check_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Key

Platform: TypeAlias = Literal["azureml", "kserve", "kubernetes", "triton"]
"""The modules beside this one that have a function `files`."""
PLATFORMS: tuple[Platform, ...] = get_args(Platform)


class Order(NamedTuple):
    """What to write, for whom, and where."""

    bundle: str
    store: Path
    keys: Sequence[Key]
    platform: Platform
    image: str
    instance: str
    output: Path


def write_deployment(order: Order) -> list[str]:
    """Write the files; gives their paths below `order.output`, sorted.

    Raises:
        ConfigError: the bundle does not fit the platform, the image is not pinned, or the folder holds something.
        SignatureError: no key vouches for the bundle, or it is damaged.
    """
    if order.output.exists() and any(order.output.iterdir()):
        raise ConfigError("deploy.output", f"'{order.output}' is not empty", hint="name a folder that is not there")
    layout, reference = find_layout(newest_reference(order.bundle, order.store), order.store)
    with tempfile.TemporaryDirectory(prefix="pack-deploy-") as folder:
        try:
            verdict = check_bundle(layout, reference, order.keys)
            bundle = read_bundle(layout, verdict.digest)
            unpack(layout, bundle, Path(folder))
        except ManifestError as error:
            raise SignatureError(error.code, str(error), hint=error.hint) from error
        module = importlib.import_module(f"packager.deployment.{order.platform}")
        subject = Subject(bundle.manifest, bundle.digest, Path(folder), order.image, order.instance)
        written: dict[str, bytes] = module.files(subject)
    for name, content in written.items():
        place = order.output / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return sorted(written)
