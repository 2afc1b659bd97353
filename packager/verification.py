"""Whether a bundle is what a trusted key released."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

from packager.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Key

    from manifests.bundle import Bundle
    from manifests.layout import Layout


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found good."""

    reference: str
    digest: str
    keys: tuple[str, ...]
    """Ids of the given keys that signed it."""
    files: int
    golden_samples: int


def check_bundle(layout: Layout, name: str, keys: Sequence[Key]) -> Verdict:
    """What is good about the bundle of that name; nothing of it is parsed before a key of `keys` vouched for it.

    Raises:
        ManifestError: a signature, the manifest or a file is bad.
    """
    from manifests.attestation import BUNDLE_PREDICATE, envelopes, verify_statement
    from manifests.bundle import check_files, check_signature, read_bundle
    from manifests.errors import InvalidSignatureError

    descriptor = layout.resolve(name)
    good: dict[str, bytes] = {}
    problems = []
    for envelope in envelopes(layout, descriptor, BUNDLE_PREDICATE):
        for key in keys:
            try:
                verify_statement(envelope, descriptor.digest, BUNDLE_PREDICATE, [key])
            except InvalidSignatureError as error:
                problems.append(error)
            else:
                good[key.keyid] = envelope
    if not good:
        raise _bad_signature(name, keys, problems)
    bundle = read_bundle(layout, descriptor.digest)
    for envelope in good.values():
        check_signature(envelope, bundle, keys)
    check_files(layout, bundle)
    _check_golden(layout, bundle)
    return Verdict(
        reference=bundle.reference,
        digest=bundle.digest,
        keys=tuple(good),
        files=len(bundle.manifest.files),
        golden_samples=bundle.manifest.golden.samples,
    )


def _bad_signature(name: str, keys: Sequence[Key], problems: Sequence[Exception]) -> SignatureError:
    if not problems:
        return SignatureError("signature.missing", f"'{name}' is not signed", hint="pack signs what it builds")
    ids = ", ".join(key.keyid[:12] for key in keys)
    return SignatureError(
        "signature.bad",
        f"no good signature on '{name}': expected one by {ids}",
        hint="it was changed since, or signed by a key that was not given; pack keys show tells a key's id",
    )


def _check_golden(layout: Layout, bundle: Bundle) -> None:
    """The golden file must hold an array for each input and output, or no device can test itself with it."""
    entry = bundle.manifest.golden_file()
    signature = bundle.manifest.signature
    expected = {f"input.{tensor.name}.npy" for tensor in signature.inputs}
    expected |= {f"expected.{tensor.name}.npy" for tensor in signature.outputs}
    data = layout.blob_path(entry.digest).read_bytes()
    try:
        held = set(zipfile.ZipFile(BytesIO(data)).namelist())
    except zipfile.BadZipFile as error:
        raise SignatureError("bundle.golden", f"golden file '{entry.path}' is not an npz archive") from error
    if held != expected:
        raise SignatureError(
            "bundle.golden",
            f"golden file '{entry.path}' does not fit the signature: "
            f"expected {', '.join(sorted(expected))}, got {', '.join(sorted(held))}",
        )
