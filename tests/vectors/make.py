"""Writes the vectors of this folder again. What changes in `git diff` afterwards is a change of the format."""

from __future__ import annotations

import base64
import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.signing import public_pem, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    Edit = Callable[[dict[str, Any]], object]

HERE = Path(__file__).parent
KEY = CryptoSigner(
    Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
)
OTHER = CryptoSigner(
    Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
)

MANIFEST: dict[str, Any] = {
    "manifest": "1.0",
    "bundle": {"name": "digits", "version": "3", "counter": 3, "target": "cloud"},
    "model": {
        "source": {"reference": "models:/digits/3", "digest": digest_bytes(b"source"), "framework": "sklearn"},
        "task": {"kind": "classification", "output": "scores", "labels": ["no", "yes"]},
    },
    "signature": {
        "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["n", 64], "range": [0, 16]}],
        "outputs": [{"name": "scores", "dtype": "float32", "shape": ["n", 2]}],
    },
    "golden": {"samples": 2, "rtol": 0.001, "atol": 1e-05},
    "baseline": {
        "samples": 3,
        "features": [{"name": "brightness", "input": "pixels", "index": 0, "edges": [0.5, 1.5], "counts": [1, 2, 0]}],
        "predictions": {"output": "scores", "counts": [1, 2]},
    },
    "files": [
        {
            "path": "model.onnx",
            "role": "model",
            "digest": digest_bytes(b"weights"),
            "size": 7,
            "media_type": "application/vnd.onnx.model",
        },
        {
            "path": "golden/samples.npz",
            "role": "golden",
            "digest": digest_bytes(b"samples"),
            "size": 7,
            "media_type": "application/x-npz",
        },
    ],
    "runtime": {"kind": "onnxruntime", "minimum": "1.23", "entry": "model.onnx", "opsets": {"ai.onnx": 21}},
    "resources": {"disk_bytes": 14},
    "parity": {
        "samples": 2,
        "inputs": "data",
        "fidelity": "runtime",
        "outputs": [{"output": "scores", "max_absolute": 1e-7, "max_relative": 1e-7, "rms_relative": 1e-8}],
    },
    "gates": [{"name": "parity", "limit": "0.0001", "value": 1e-7, "unit": "", "verdict": "passed"}],
    "build": {
        "packtrain": "0.1.0",
        "toolchain": {"onnx": "1.20.0"},
        "toolchain_digest": digest_bytes(b"lock"),
        "options": {"optimise": True},
    },
}

RELEASE: dict[str, Any] = {
    "release": "1.0",
    "name": "digits",
    "version": "3",
    "counter": 3,
    "target": "cloud",
    "bundle": digest_bytes(b"{}"),
    "runtime": {"kind": "onnxruntime", "minimum": "1.23", "entry": "model.onnx"},
    "disk_bytes": 2,
    "blobs": [{"digest": digest_bytes(b"{}"), "size": 2, "chunks": [digest_bytes(b"{}")]}],
    "signature": "{}",
}

MANIFESTS: dict[str, tuple[str, Edit, str]] = {
    "complete": ("", lambda _: None, "Every required section, a baseline and a task."),
    "without-baseline": ("", lambda d: d.pop("baseline"), "A baseline is optional."),
    "newer-minor": (
        "",
        lambda d: d.update(manifest="1.7"),
        "A newer minor version that says nothing new (SPEC 2.3.3).",
    ),
    "newer-minor-says-more_fail": (
        "manifest.newer",
        lambda d: d.update(manifest="1.7", novelty=1),
        "An unknown field of a newer minor version could be a condition (SPEC 2.3.3).",
    ),
    "newer-major_fail": ("manifest.version", lambda d: d.update(manifest="2.0"), "Another major version (SPEC 2.3.2)."),
    "no-version_fail": ("manifest.format", lambda d: d.pop("manifest"), "The version is always written (SPEC 2.3.1)."),
    "odd-version_fail": ("manifest.version", lambda d: d.update(manifest="1.x"), "Not a version (SPEC 2.3.1)."),
    "unknown-field_fail": ("manifest.field", lambda d: d["bundle"].update(colour="red"), "Strict fields (SPEC 2.2.1)."),
    "missing-field_fail": ("manifest.field", lambda d: d.pop("parity"), "A required section is missing (SPEC 2.2.1)."),
    "explicit-default_fail": (
        "manifest.canonical",
        lambda d: d.update(hardware={}),
        "A field at its default is left out (SPEC 2.1.3).",
    ),
    "large-integer_fail": (
        "canonical.value",
        lambda d: d["build"]["options"].update(seed=1e17),
        "An integer past 2**53 - 1: in this untyped field a double's text reads as one (SPEC 2.1.2).",
    ),
    "digest-with-newline_fail": (
        "manifest.field",
        lambda d: d["files"][0].update(digest=digest_bytes(b"weights") + "\n"),
        "A pattern's `$` lets a newline through in some languages (SPEC 2.4.1).",
    ),
    "path-traversal_fail": (
        "manifest.field",
        lambda d: d["files"][0].update(path="../model.onnx"),
        "A path that leads out of the folder (SPEC 3.4.1).",
    ),
    "absolute-path_fail": (
        "manifest.field",
        lambda d: d["files"][0].update(path="/model.onnx"),
        "A path from the root (SPEC 3.4.1).",
    ),
    "path-twice_fail": (
        "manifest.file",
        lambda d: d["files"][1].update(path="Model.onnx"),
        "Two paths that are one where case doesn't count (SPEC 4.1).",
    ),
    "file-and-folder_fail": (
        "manifest.file",
        lambda d: d["files"][1].update(path="model.onnx/samples"),
        "A file that is also a folder (SPEC 4.1).",
    ),
    "no-golden_fail": ("manifest.file", lambda d: d["files"][1].update(role="other"), "No golden samples (SPEC 4.2)."),
    "gate-failed_fail": (
        "manifest.field",
        lambda d: d["gates"][0].update(verdict="failed"),
        "A failed gate makes no bundle (SPEC 3.5.2).",
    ),
    "falling-edges_fail": (
        "manifest.baseline",
        lambda d: d["baseline"]["features"][0].update(edges=[1.5, 0.5]),
        "Edges that don't rise (SPEC 4.5).",
    ),
}

RAW_MANIFESTS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "white-space_fail": ("manifest.canonical", lambda b: b + b"\n", "A newline at the end (SPEC 2.1.4)."),
    "repeated-key_fail": (
        "manifest.canonical",
        lambda b: b.replace(b'"counter":3', b'"counter":3,"counter":3'),
        "Parsers disagree on which one counts (SPEC 2.1.4).",
    ),
    "not-utf-8_fail": (
        "manifest.format",
        lambda b: b.replace(b"digits", b"digit\xff", 1),
        "Bytes that are not UTF-8 (SPEC 2.1.5).",
    ),
    "deep-nesting_fail": (
        "manifest.format",
        lambda _: b'{"a":' * 100_000,
        "Deeper than a parser follows (SPEC 2.1.5).",
    ),
    "empty_fail": ("manifest.format", lambda _: b"", "Nothing."),
}

RELEASES: dict[str, tuple[str, Edit, str]] = {
    "one-blob": ("", lambda _: None, "The smallest record."),
    "newer-major_fail": ("release.version", lambda d: d.update(release="2.0"), "Another major version (SPEC 8.1)."),
    "unknown-field_fail": ("release.field", lambda d: d.update(colour="red"), "Strict fields (SPEC 8.1)."),
    "chunk-missing_fail": (
        "release.chunks",
        lambda d: d["blobs"][0].update(size=65537),
        "65537 bytes are two chunks (SPEC 8.2).",
    ),
    "other-first-blob_fail": (
        "release.bundle",
        lambda d: d.update(bundle=digest_bytes(b"other")),
        "The first blob is the OCI manifest (SPEC 8.2).",
    ),
}

CANONICAL: dict[str, tuple[str, str, str]] = {
    "rfc8785-3.2.2": (
        (
            '{\n  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],\n'
            '  "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",\n  "literals": [null, true, false]\n}\n'
        ),
        (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ),
        "RFC 8785, section 3.2.2: primitive values.",
    ),
    "rfc8785-3.2.3": (
        (
            '{"\\u20ac": "Euro Sign", "\\r": "Carriage Return", "\\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",'
            ' "\\ud83d\\ude00": "Emoji: Grinning Face", "\\u0080": "Control",'
            ' "\\u00f6": "Latin Small Letter O With Diaeresis"}'
        ),
        (
            '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
            '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
        ),
        "RFC 8785, section 3.2.3: keys are sorted by UTF-16 code units, so the emoji comes before U+FB33.",
    ),
    "unnormalized": ('["A\\u030a"]', '["A\u030a"]', "Unicode is not normalized."),
    "nested": ('{"b": [{"d": {}, "c": []}], "a": -0.0}', '{"a":0,"b":[{"c":[],"d":{}}]}', "Sorted at every depth."),
    "large-integer_fail": ("[9007199254740993]", "canonical.value", "An integer that no double holds (SPEC 2.1.2)."),
}

# RFC 8785, appendix B.
NUMBERS = """\
0000000000000000 0
8000000000000000 0
0000000000000001 5e-324
8000000000000001 -5e-324
7fefffffffffffff 1.7976931348623157e+308
ffefffffffffffff -1.7976931348623157e+308
4340000000000000 9007199254740992
c340000000000000 -9007199254740992
4430000000000000 295147905179352830000
7fffffffffffffff !
7ff0000000000000 !
44b52d02c7e14af5 9.999999999999997e+22
44b52d02c7e14af6 1e+23
44b52d02c7e14af7 1.0000000000000001e+23
444b1ae4d6e2ef4e 999999999999999700000
444b1ae4d6e2ef4f 999999999999999900000
444b1ae4d6e2ef50 1e+21
3eb0c6f7a0b5ed8c 9.999999999999997e-7
3eb0c6f7a0b5ed8d 0.000001
41b3de4355555553 333333333.3333332
41b3de4355555554 333333333.33333325
41b3de4355555555 333333333.3333333
41b3de4355555556 333333333.3333334
41b3de4355555557 333333333.33333343
becbf647612f3696 -0.0000033333333333333333
43143ff3c1cb0959 1424953923781206.2
"""

HELLO, HELLO_TYPE = b"hello world", "http://example.com/HelloWorld"
HELLO_PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"

ENVELOPES: dict[str, tuple[str, Edit, str]] = {
    "hello-world": ("", lambda _: None, "The message of the DSSE 1.0 specification, signed with Ed25519."),
    "urlsafe-base64": (
        "",
        lambda d: d["signatures"][0].update(
            sig=base64.urlsafe_b64encode(base64.b64decode(d["signatures"][0]["sig"])).decode()
        ),
        "A verifier takes both alphabets (DSSE 1.0, protocol).",
    ),
    "unknown-field": ("", lambda d: d.update(note="x"), "Nothing in the envelope is signed but payload and type."),
    "changed-payload_fail": (
        "signature.bad",
        lambda d: d.update(payload=base64.b64encode(b"hello World").decode()),
        "One letter of the payload was changed.",
    ),
    "changed-type_fail": (
        "signature.type",
        lambda d: d.update(payloadType="http://example.com/GoodbyeWorld"),
        "Signed for one purpose, shown for another (SPEC 6.1.4).",
    ),
    "other-key_fail": (
        "signature.bad",
        lambda d: d["signatures"][0].update(keyid=KEY.public_key.keyid, sig=_signature(OTHER)),
        "The key id of the trusted key over a signature by another.",
    ),
    "signed-twice_fail": (
        "signature.format",
        lambda d: d["signatures"].append(d["signatures"][0]),
        "One key signs once (SPEC 6.1.3).",
    ),
    "no-key-id_fail": (
        "signature.format",
        lambda d: d["signatures"][0].pop("keyid"),
        "DSSE makes it optional, SPEC 6.1.3 does not.",
    ),
    "no-signature_fail": ("signature.format", lambda d: d.update(signatures=[]), "An envelope without a signature."),
    "bad-base64_fail": ("signature.format", lambda d: d.update(payload="*"), "Not base64."),
}


def _signature(signer: CryptoSigner) -> str:
    envelope = json.loads(sign(HELLO, HELLO_TYPE, [signer]))
    return str(envelope["signatures"][0]["sig"])


def _case(kind: str, name: str, reason: str, files: dict[str, bytes], code: str) -> None:
    folder = HERE / kind / name
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(reason + "\n")
    for file, content in files.items():
        (folder / file).write_bytes(content)
    if code:
        (folder / "code").write_text(code + "\n")


def _edited(document: dict[str, Any], edit: Edit) -> dict[str, Any]:
    copy = deepcopy(document)
    edit(copy)
    return copy


def main() -> None:
    for kind in ("manifest", "release", "canonical", "numbers", "envelope"):
        shutil.rmtree(HERE / kind, ignore_errors=True)
    for name, (code, edit, reason) in MANIFESTS.items():
        _case("manifest", name, reason, {"manifest.json": canonical_json(_edited(MANIFEST, edit))}, code)
    for name, (code, change, reason) in RAW_MANIFESTS.items():
        _case("manifest", name, reason, {"manifest.json": change(canonical_json(MANIFEST))}, code)
    for name, (code, edit, reason) in RELEASES.items():
        _case("release", name, reason, {"release.json": canonical_json(_edited(RELEASE, edit))}, code)
    for name, (given, expected, reason) in CANONICAL.items():
        failing = name.endswith("_fail")
        files = {"input.json": given.encode()} | ({} if failing else {"output.json": expected.encode()})
        _case("canonical", name, reason, files, expected if failing else "")
    numbers = NUMBERS.replace(" ", "\t").encode()
    _case(
        "numbers", "rfc8785-appendix-b", "RFC 8785, appendix B: doubles and their text.", {"numbers.tsv": numbers}, ""
    )
    envelope = json.loads(sign(HELLO, HELLO_TYPE, [KEY]))
    for name, (code, edit, reason) in ENVELOPES.items():
        files = {
            "envelope.json": json.dumps(_edited(envelope, edit), sort_keys=True).encode(),
            "key.pub": public_pem(KEY.public_key).encode(),
            "payload-type": HELLO_TYPE.encode(),
            "payload": HELLO,
            "pae": HELLO_PAE,
        }
        _case("envelope", name, reason, files, code)


if __name__ == "__main__":
    main()
