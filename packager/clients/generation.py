"""A client of a bundle: files by their paths, the same bytes every time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.bundle import read_bundle
from manifests.errors import ManifestError
from packager.clients.description import describe
from packager.clients.languages._language import open_language
from packager.clients.naming import one_line
from packager.clients.vectors import make_vectors
from packager.errors import ConfigError, SignatureError
from packager.opening import newest_reference
from packager.store import find_layout
from packager.verification import check_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Key

    from manifests.bundle import Bundle
    from packager.clients.description import Client
    from packager.clients.languages._language import Language, LanguageName
    from packager.clients.vectors import Vectors


class Generated(NamedTuple):
    """A client that is not written yet."""

    reference: str
    digest: str
    model: str
    language: LanguageName
    next_step: str
    """How the golden test is run, in the client's folder."""
    texts: dict[str, bytes]
    """What was generated, by path."""
    copies: dict[str, Path]
    """What is copied from the store, by path."""


class Texts(NamedTuple):
    """What does not stand in the store."""

    files: dict[str, bytes]
    model: str
    """Folder of the shipped files."""


def generate(name: str, store: Path, keys: Sequence[Key], language: LanguageName) -> Generated:
    """The client of the bundle of that name, which one of `keys` must vouch for.

    Raises:
        ConfigError: there is no such bundle, or its pipeline can't be done.
        SignatureError: no key vouches for it, or a file is damaged.
    """
    layout, reference = find_layout(newest_reference(name, store), store)
    try:
        verdict = check_bundle(layout, reference, keys)
        bundle = read_bundle(layout, verdict.digest)
    except ManifestError as error:
        raise SignatureError(error.code, str(error), hint=error.hint) from error
    files = {entry.path: layout.blob_path(entry.digest) for entry in bundle.manifest.files}
    golden = files.pop(bundle.manifest.golden_file().path)
    texts = write_texts(bundle, open_language(language), golden.read_bytes(), files)
    return Generated(
        reference=bundle.reference,
        digest=bundle.digest,
        model=bundle.manifest.bundle.name,
        language=language,
        next_step=open_language(language).test,
        texts=texts.files,
        copies={f"{texts.model}/{path}": source for path, source in files.items()},
    )


def write_texts(bundle: Bundle, language: Language, golden: bytes, files: Mapping[str, Path]) -> Texts:
    """What is generated: sources, the golden vectors, and the manifest; `golden` is the bundle's golden file.

    Raises:
        ConfigError: the pipeline can't be done.
    """
    client = describe(bundle, language, _labels(bundle, files))
    vectors, data = make_vectors(client, bundle.manifest, golden)
    backend = language.backends.get(client.runtime.kind)
    templates = {**language.files, **dict([backend] if backend else [])}

    def placed(path: str) -> str:
        return path.format(type=client.type, package=client.package)

    texts = {placed(path): _render(template, client, vectors, language) for template, path in templates.items()}
    return Texts({**texts, placed(language.golden): data}, placed(language.model))


def _render(template: str, client: Client, vectors: Vectors, language: Language) -> bytes:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("packager.clients", f"templates/{language.name}"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML: each language's own escapes are filters
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "literal": language.literal,
        "comment": lambda text: language.comment(one_line(text)),
        "json": json.dumps,
        "number": _number,
        "element": language.types.__getitem__,
        "lines": _lines,
        "tuple_text": _tuple_text,
    }
    local = language.backends.get(client.runtime.kind) is not None
    text = environment.get_template(f"{template}.jinja").render(
        client=client, vectors=vectors, local=local, model_folder=language.model, golden=language.golden
    )
    return text.encode()


def _number(value: float) -> str:
    """A real number as every one of the languages reads it back exactly."""
    return repr(float(value))


def _tuple_text(values: Iterable[object]) -> str:
    """Entries as ``(1, 2)``, ``(1,)`` or ``()``."""
    parts = [str(value) for value in values]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _lines(values: Iterable[str], most: int = 100) -> list[str]:
    """Entries of a list, joined to lines that are not too long, each with its comma."""
    lines: list[str] = []
    for value in values:
        if lines and len(lines[-1]) + len(value) < most:
            lines[-1] += f" {value},"
        else:
            lines.append(f"{value},")
    return lines


def _labels(bundle: Bundle, files: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """The labels in the files that the pipeline names (SPEC 3.7.8)."""
    found = {}
    for step in bundle.manifest.pipeline.outputs:
        if not step.labels_file:
            continue
        try:
            text = files[step.labels_file].read_text(encoding="utf-8")
            if step.labels_file.endswith(".json"):
                found[step.labels_file] = msgspec.json.decode(text, type=tuple[str, ...])
            else:
                found[step.labels_file] = tuple(text.splitlines())
        except (ValueError, msgspec.DecodeError) as error:
            raise ConfigError(
                "client.labels", f"'{step.labels_file}' of the bundle is no list of labels: {error}"
            ) from error
    return found
