"""The bundle of what was built: its manifest, its place in the store, its signature, and what was measured of it."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, cast

import msgspec

from manifests.attestation import TEST_RESULT_PREDICATE, attest, envelopes
from manifests.bundle import sign_bundle, write_bundle
from manifests.canonical import canonical_json
from manifests.errors import ManifestError
from manifests.manifest import (
    BuildSection,
    BundleSection,
    GateSection,
    Manifest,
    ModelSection,
    SourceSection,
)
from packager.errors import ConversionError
from packager.fingerprints import mapping_digest
from packager.jobs.importation import Importation
from packager.signatures import declared_signature
from packager.sources._source import Fetched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from securesystemslib.signer import CryptoSigner

    from manifests.bundle import Bundle
    from manifests.layout import Layout
    from packager.config import Project, TargetSettings
    from packager.gates import GateResult
    from packager.jobs.conversion import Conversion


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What all targets share: the model as it was fetched and imported."""

    fetched: Fetched
    importation: Importation
    version: str
    calibration: str | None
    """The digest of the calibration data."""


def release_counter(project: Project, version: str) -> int:
    """The release counter: ``[model] counter``, else the version where it is an integer, else 0."""
    if project.model.counter is not None:
        return project.model.counter
    return int(version) if version.isdecimal() else 0


def compose_manifest(
    project: Project,
    settings: TargetSettings,
    model: Model,
    made: Conversion,
    gates: Sequence[GateResult],
    toolchain: Mapping[str, str],
) -> Manifest:
    """The manifest; nothing in it depends on the time, the machine's name or a measured time."""
    artifact = made.artifact
    quantization = artifact.quantization
    if quantization.calibration_samples and quantization.calibration_digest is None:
        quantization = msgspec.structs.replace(quantization, calibration_digest=model.calibration)
    return Manifest(
        bundle=BundleSection(
            name=project.model.name,
            version=model.version,
            counter=release_counter(project, model.version),
            target=settings.name,
        ),
        model=ModelSection(
            source=SourceSection(
                reference=model.fetched.reference,
                digest=model.fetched.digest,
                framework=model.importation.framework,
            ),
            task=model.importation.task,
            licence=project.model.licence,
        ),
        signature=declared_signature(artifact.signature, model.importation.declaration),
        pipeline=model.importation.declaration.pipeline,
        golden=made.golden,
        baseline=made.baseline,
        files=(*artifact.files, made.golden_file),
        runtime=artifact.runtime,
        hardware=artifact.hardware,
        resources=artifact.resources,
        quantization=quantization,
        parity=made.parity,
        gates=tuple(_gate(result) for result in gates),
        lineage=model.fetched.lineage,
        build=BuildSection(
            packtrain=importlib.metadata.version("packtrain"),
            toolchain=dict(toolchain),
            toolchain_digest=mapping_digest(toolchain),
            options=flat_options(settings.options),
        ),
    )


def flat_options(options: msgspec.Struct) -> dict[str, str | int | float | bool | None]:
    """The options as the manifest has them: what is not a plain value stands as canonical JSON."""
    document = cast("dict[str, object]", msgspec.to_builtins(options))
    return {
        name: value if value is None or isinstance(value, str | int | float) else canonical_json(value).decode()
        for name, value in document.items()
    }


def store_bundle(layout: Layout, manifest: Manifest, files: Path) -> Bundle:
    """The bundle, written to the store.

    Raises:
        ConversionError: its manifest or files are not sound.
    """
    try:
        return write_bundle(layout, manifest, files)
    except ManifestError as error:
        raise ConversionError(error.code, str(error), hint=error.hint) from error


def sign_and_attest(
    layout: Layout, bundle: Bundle, made: Conversion, gates: Sequence[GateResult], signer: CryptoSigner, *, anew: bool
) -> None:
    """Sign the bundle, and attach what was measured where it was measured `anew` or stands nowhere yet."""
    sign_bundle(layout, bundle, [signer])
    if anew or not envelopes(layout, bundle.descriptor, TEST_RESULT_PREDICATE):
        attest(
            layout,
            bundle.descriptor,
            name=bundle.reference,
            predicate_type=TEST_RESULT_PREDICATE,
            predicate=_test_result(bundle, made, gates),
            signers=[signer],
        )


def _gate(result: GateResult) -> GateSection:
    value = None if result.unit == "ms" else result.value
    verdict = cast("Literal['passed', 'waived', 'no-data']", result.verdict)
    return GateSection(
        name=result.name, limit=result.limit, value=value, unit=result.unit, verdict=verdict, waiver=result.waiver
    )


def _test_result(bundle: Bundle, made: Conversion, gates: Sequence[GateResult]) -> dict[str, object]:
    """In-toto's test-result predicate v0.1, with our measurements beside its fields."""
    unproven = [result.name for result in gates if result.verdict != "passed"]
    return {
        "result": "WARNED" if unproven else "PASSED",
        "configuration": [
            {"name": "manifest", "digest": {"sha256": bundle.image.config.digest.removeprefix("sha256:")}}
        ],
        "passedTests": [result.name for result in gates if result.verdict == "passed"],
        "warnedTests": unproven,
        "failedTests": [],
        "measurements": msgspec.to_builtins(
            {"gates": list(gates), "parity": made.parity, "scores": made.scores, "latency": made.latency}
        ),
    }
