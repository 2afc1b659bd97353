"""What is in a container, as a CycloneDX 1.6 bill of materials: base, distributions, the model.

It has no time and no random number: the same container has the same one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeAlias

from packager.registry import installed_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifests.manifest import Manifest
    from packager.containers.distributions import Distribution

Json: TypeAlias = "dict[str, object]"

FORMAT = "application/vnd.cyclonedx+json"
_CONTAINER, _BASE, _PROGRAM, _MODEL = "container", "base", "packtrain", "model"


def describe(manifest: Manifest, digest: str, distributions: Sequence[Distribution], base: tuple[str, str]) -> Json:
    """The document; `base` is the base's name and digest."""
    bundle = manifest.bundle
    name, base_digest = base
    libraries = [_library(entry) for entry in distributions]
    known = {entry.name for entry in distributions}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{digest} {base_digest}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": _CONTAINER,
                "name": bundle.name,
                "version": bundle.version,
                "description": f"pack serve {bundle.name}:{bundle.version}@{bundle.target}",
            },
        },
        "components": [
            {
                "type": "container",
                "bom-ref": _BASE,
                "name": name,
                "version": base_digest,
                "hashes": [_hash(base_digest)],
            },
            {
                "type": "application",
                "bom-ref": _PROGRAM,
                "name": "packtrain",
                "version": installed_version("packtrain") or "",
                "purl": f"pkg:pypi/packtrain@{installed_version('packtrain')}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
            _model(manifest, digest),
            *libraries,
        ],
        "dependencies": [
            {"ref": _CONTAINER, "dependsOn": [_BASE, _PROGRAM, _MODEL]},
            {"ref": _PROGRAM, "dependsOn": sorted(str(entry["bom-ref"]) for entry in libraries)},
            *(
                {
                    "ref": str(library["bom-ref"]),
                    "dependsOn": sorted(
                        str(other["bom-ref"]) for other in libraries if other["name"] in entry.requires
                    ),
                }
                for entry, library in zip(distributions, libraries, strict=True)
                if known & set(entry.requires)
            ),
        ],
    }


def _library(entry: Distribution) -> Json:
    purl = f"pkg:pypi/{entry.name}@{entry.version}"
    component: Json = {
        "type": "library",
        "bom-ref": purl,
        "name": entry.name,
        "version": entry.version,
        "purl": purl,
    }
    if entry.licence:
        component["licenses"] = [{"license": {"name": entry.licence}}]
    if entry.homepage:
        component["externalReferences"] = [{"type": "website", "url": entry.homepage}]
    return component


def _model(manifest: Manifest, digest: str) -> Json:
    source = manifest.model.source
    properties = {
        "packtrain:target": manifest.bundle.target,
        "packtrain:runtime": f"{manifest.runtime.kind} {manifest.runtime.minimum}",
        "packtrain:quantization": manifest.quantization.scheme,
        "packtrain:source": source.reference,
        "packtrain:source-digest": source.digest,
        "packtrain:bundle-digest": digest,
    }
    component: Json = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": manifest.bundle.name,
        "version": manifest.bundle.version,
        "hashes": [_hash(digest)],
        "modelCard": {
            "modelParameters": {
                "task": manifest.model.task.kind,
                "inputs": [{"format": entry.dtype} for entry in manifest.signature.inputs],
                "outputs": [{"format": entry.dtype} for entry in manifest.signature.outputs],
            }
        },
        "components": [
            {
                "type": "file",
                "bom-ref": f"model/{entry.path}",
                "name": entry.path,
                "mime-type": entry.media_type,
                "hashes": [_hash(entry.digest)],
            }
            for entry in manifest.files
        ],
        "properties": [{"name": name, "value": value} for name, value in properties.items()],
    }
    if manifest.model.licence:
        component["licenses"] = [{"license": {"name": manifest.model.licence}}]
    return component


def _hash(digest: str) -> Json:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
