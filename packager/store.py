"""Bundles on disk: where a store is, and the bundle that a reference means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from manifests.bundle import read_bundle
from manifests.errors import LayoutError, ManifestError
from manifests.layout import Layout
from packager.errors import ConfigError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests.bundle import Bundle

_PREFIX = "oci:"


def create_store(folder: Path) -> Layout:
    """The store in `folder`, which is made if need be.

    Raises:
        ConfigError: the folder holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Layout.create(folder)
    except LayoutError as error:
        raise ConfigError(error.code, str(error), hint=error.hint) from error


def find_layout(reference: str, store: Path) -> tuple[Layout, str]:
    """The store that a bundle stands in, and its name there; nothing of the bundle is read.

    `reference` is ``name:version@target`` or a digest in `store`; or ``oci:PATH``, a store elsewhere that holds one
    bundle; or ``oci:PATH:REFERENCE``.

    Raises:
        ConfigError: there is no such store or bundle, or the reference means several.
    """
    folder, name = store, reference
    if reference.startswith(f"{_PREFIX}//"):
        raise ConfigError(
            "store.reference",
            "a bundle in a registry is looked at once it is here",
            hint="pack pull copies it into this project's store",
        )
    if reference.startswith(_PREFIX):
        place, _, name = reference.removeprefix(_PREFIX).partition(":")
        folder = Path(place)
    elif (Path(reference) / "oci-layout").is_file():
        raise ConfigError("store.reference", f"'{reference}' is a store, not a bundle", hint=f"oci:{reference}")
    elif not (store / "oci-layout").is_file():
        raise ConfigError(
            "store.empty",
            f"no bundle '{reference}': there is none in '{store}'",
            hint="pack builds; -C names the project",
        )
    try:
        layout = Layout.open(folder)
        name = name or _only(layout)
        layout.resolve(name)
    except LayoutError as error:
        raise ConfigError(error.code, str(error), hint=error.hint) from error
    return layout, name


def find_bundle(reference: str, store: Path) -> tuple[Layout, Bundle]:
    """The bundle that a reference means (see `find_layout`), and the store it stands in.

    Raises:
        ConfigError: there is no such store or bundle, or the reference means several.
        SignatureError: the bundle is damaged.
    """
    layout, name = find_layout(reference, store)
    try:
        return layout, read_bundle(layout, name)
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error


def bundles(store: Path) -> Iterator[Bundle]:
    """The bundles of a store by reference, sorted; none where there is no store.

    Raises:
        SignatureError: one is damaged.
    """
    if not (store / "oci-layout").is_file():
        return
    layout = Layout.open(store)
    for reference in layout.references():
        yield find_bundle(reference, store)[1]


def _only(layout: Layout) -> str:
    references = layout.references()
    if len(references) != 1:
        raise ConfigError(
            "store.reference",
            f"'{layout.folder}' holds {len(references)} bundles: expected one, or a reference",
            hint=f"it holds: {', '.join(references)}" if references else "pack writes bundles into it",
        )
    return references[0]
