"""What is deployed: a verified bundle, and the image that serves it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from packager.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.manifest import Manifest

HTTP_PORT, RPC_PORT = 8080, 8081
"""Of the images that `pack container` makes."""
USER = 65532
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[^a-z0-9-]+")
_LABEL_LENGTH = 50
_MEBIBYTE = 1 << 20
_SERVER_MEBIBYTES = 256
"""What the server takes before any model: Python, numpy, onnxruntime."""


class Subject(NamedTuple):
    """One bundle on its way to a platform."""

    manifest: Manifest
    digest: str
    folder: Path
    """Its files."""
    image: str
    """``NAME@sha256:...`` in a registry; empty where the platform needs none."""
    instance: str
    """The kind of machine, where the platform has kinds."""

    @property
    def label(self) -> str:
        """The model's name as DNS takes it."""
        text = _LABEL.sub("-", self.manifest.bundle.name.lower()).strip("-")
        if not text[:1].isalpha():
            text = f"m-{text}"
        return text[:_LABEL_LENGTH].rstrip("-")

    @property
    def memory(self) -> int:
        """Mebibytes that a server is given: for itself, and for the model's weights three times over."""
        weights = self.manifest.resources.memory_bytes or self.manifest.resources.disk_bytes
        return _SERVER_MEBIBYTES + 3 * -(-weights // _MEBIBYTE)

    def pinned_image(self) -> str:
        """The image.

        Raises:
            ConfigError: there is none, or no digest pins it.
        """
        if not _IMAGE.fullmatch(self.image):
            raise ConfigError(
                "deploy.image",
                f"--image: expected NAME@sha256:<64 hex digits>, got '{self.image}'",
                hint="pack container makes the image; its digest is printed, and skopeo inspect shows it",
            )
        return self.image
