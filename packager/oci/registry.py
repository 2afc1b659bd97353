"""One repository of an OCI registry: manifests, blobs and referrers (OCI distribution specification 1.1).

Manifests pass as the bytes they are, so that no digest changes. Blobs are read from any offset and sent from the disk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec
import requests

from manifests.canonical import canonical_json
from manifests.digests import digest_bytes
from manifests.layout import DOCUMENT_LIMIT, IMAGE_MEDIA_TYPE, INDEX_MEDIA_TYPE, Index
from packager.errors import ConfigError, NetworkError
from packager.oci.authorization import Authorization
from packager.oci.credentials import find_credentials
from packager.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

    from manifests.layout import Descriptor
    from packager.oci.reference import Reference

_BLOCK = 64 << 10
"""Of a block that is interrupted nothing is kept."""
_TIMEOUT = (10.0, 60.0)
"""Seconds for the connection, and between two bytes."""
_OK, _CREATED, _ACCEPTED, _PARTIAL = 200, 201, 202, 206
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_SATISFIABLE = 401, 403, 404, 416
_DOCKER_MEDIA_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class _Reason(msgspec.Struct, frozen=True):
    message: str = ""


class _Problem(msgspec.Struct, frozen=True):
    errors: tuple[_Reason, ...] = ()


class Repository:
    """A repository, asked and filled over HTTP."""

    def __init__(self, reference: Reference) -> None:
        """Raises NetworkError where the credentials can't be read."""
        self._reference = reference
        self._session = requests.Session()
        credentials = find_credentials(reference.host)
        self._session.auth = self._authorization = Authorization(reference, credentials, self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def manifest(self, wanted: str) -> bytes:
        """The manifest of that tag or digest, as it is stored.

        Raises:
            ConfigError: there is none.
            NetworkError: the registry can't be reached, or sends something else.
        """
        types = ", ".join((IMAGE_MEDIA_TYPE, INDEX_MEDIA_TYPE, *_DOCKER_MEDIA_TYPES))
        with self._send("GET", f"manifests/{wanted}", headers={"Accept": types}, stream=True) as answer:
            if answer.status_code == _NOT_FOUND:
                raise ConfigError("oci.missing", f"no '{wanted}' in '{self._place}'", hint="is the tag right?")
            self._expect(answer, _OK)
            data = self._read(answer)
        if wanted.startswith("sha256:") and digest_bytes(data) != wanted:
            raise NetworkError("oci.digest", f"'{self._place}' answers with another manifest than '{wanted}'")
        return data

    def blob(self, descriptor: Descriptor, offset: int) -> tuple[int, Iterator[bytes]]:
        """A blob from `offset` on, or from the start where the registry can't do better: where from, and the bytes.

        Raises:
            ConfigError: there is none.
            NetworkError: it is interrupted.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        # A registry's storage may compress what it sends, and then neither size nor offset would hold.
        headers["Accept-Encoding"] = "identity"
        answer = self._send("GET", f"blobs/{descriptor.digest}", headers=headers, stream=True)
        if answer.status_code == _NOT_FOUND:
            raise ConfigError("oci.missing", f"no blob {descriptor.digest} in '{self._place}'")
        if answer.status_code == _NOT_SATISFIABLE:
            answer.close()
            return self.blob(descriptor, 0)
        self._expect(answer, _OK, _PARTIAL)
        return (offset if answer.status_code == _PARTIAL else 0), self._blocks(answer)

    def has(self, kind: str, digest: str) -> bool:
        """Whether a blob or a manifest (`kind` is ``blobs`` or ``manifests``) is there."""
        answer = self._send("HEAD", f"{kind}/{digest}", headers={"Accept": IMAGE_MEDIA_TYPE})
        if answer.status_code == _NOT_FOUND:
            return False
        self._expect(answer, _OK)
        return True

    def upload(self, path: Path, descriptor: Descriptor) -> None:
        """Send a blob from the disk, in one request.

        Raises:
            NetworkError: the registry can't be reached, or does not take it.
        """
        begun = self._send("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        self._expect(begun, _ACCEPTED)
        place = urljoin(begun.url, begun.headers.get("Location", ""))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)}
        with path.open("rb") as stream:
            # Requests would send an empty stream in chunks, in spite of its length.
            body = stream if descriptor.size else b""
            done = self._send("PUT", place, headers=headers, parameters={"digest": descriptor.digest}, body=body)
        self._expect(done, _CREATED)

    def put_manifest(self, data: bytes, wanted: str, media_type: str) -> bool:
        """Store a manifest under a tag or its digest; whether the registry lists it among its subject's referrers."""
        done = self._send("PUT", f"manifests/{wanted}", headers={"Content-Type": media_type}, body=data)
        self._expect(done, _CREATED)
        return "OCI-Subject" in done.headers

    def referrers(self, subject: str) -> list[Descriptor]:
        """What refers to a manifest: the registry's list, else the one that clients keep under a tag.

        Distribution specification 1.1, "Listing Referrers" and "Unavailable Referrers API".
        """
        answer = self._send("GET", f"referrers/{subject}", headers={"Accept": INDEX_MEDIA_TYPE}, stream=True)
        with answer:
            if answer.status_code == _OK and answer.headers.get("Content-Type", "").startswith(INDEX_MEDIA_TYPE):
                return list(self._parse_index(self._read(answer)).manifests)
            if answer.status_code in {_UNAUTHORIZED, _FORBIDDEN}:
                self._expect(answer, _OK)
        return self._tagged_referrers(subject)

    def list_referrer(self, subject: str, referrer: Descriptor) -> None:
        """Add to the list under a tag, for registries that keep none themselves."""
        known = self._tagged_referrers(subject)
        if all(entry.digest != referrer.digest for entry in known):
            index = Index(schema_version=2, media_type=INDEX_MEDIA_TYPE, manifests=(*known, referrer))
            self.put_manifest(canonical_json(index), _referrers_tag(subject), INDEX_MEDIA_TYPE)

    def _tagged_referrers(self, subject: str) -> list[Descriptor]:
        try:
            data = self.manifest(_referrers_tag(subject))
        except ConfigError:
            return []
        return list(self._parse_index(data).manifests)

    def _parse_index(self, data: bytes) -> Index:
        try:
            return msgspec.json.decode(data, type=Index)
        except msgspec.DecodeError as error:
            raise NetworkError("oci.answer", f"'{self._place}' answers no OCI index: {error}") from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        parameters: dict[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """The registry's answer, after we said who we are where it asked."""
        url = path if "://" in path else f"{self._reference.base}/{path}"
        for last in (False, True):
            try:
                answer = self._session.request(
                    method, url, headers=headers, params=parameters, data=body, stream=stream, timeout=_TIMEOUT
                )
            except (requests.RequestException, OSError) as error:
                raise self._unreachable(error) from error
            if answer.status_code != _UNAUTHORIZED or last or not self._authorization.answer(answer):
                break
            answer.close()
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
        return answer

    def _read(self, answer: requests.Response) -> bytes:
        data = b""
        for block in self._blocks(answer):
            data += block
            if len(data) > DOCUMENT_LIMIT:
                raise NetworkError("oci.answer", f"manifest in '{self._place}' is larger than {DOCUMENT_LIMIT} bytes")
        return data

    def _blocks(self, answer: requests.Response) -> Iterator[bytes]:
        with answer:
            try:
                yield from answer.iter_content(_BLOCK)
            except (requests.RequestException, OSError) as error:
                raise self._unreachable(error) from error

    def _expect(self, answer: requests.Response, *codes: int) -> None:
        if answer.status_code in codes:
            return
        said = self._reason(answer)
        if answer.status_code in {_UNAUTHORIZED, _FORBIDDEN}:
            who = "refuses who you are" if self._authorization.known else "wants to know who you are"
            raise NetworkError(
                "source.authentication",
                f"'{self._place}' {who}: status {answer.status_code}{said}",
                hint=f"docker login {self._reference.host}",
            )
        raise NetworkError("oci.status", f"'{self._place}' answers with status {answer.status_code}{said}")

    def _reason(self, answer: requests.Response) -> str:
        try:
            problem = msgspec.json.decode(answer.content[:DOCUMENT_LIMIT], type=_Problem)
        except (msgspec.DecodeError, requests.RequestException):
            return ""
        text = "; ".join(entry.message for entry in problem.errors if entry.message)
        return f": {redact(text, self._authorization.secrets)[:200]}" if text else ""

    def _unreachable(self, error: Exception) -> NetworkError:
        said = redact(str(error), self._authorization.secrets)
        return NetworkError(
            "source.unreachable",
            f"'{self._place}' can't be reached: {re.sub(r'<[^>]*>: ?', '', said)[:300]}",
            hint="run it again: what arrived is kept",
        )

    @property
    def _place(self) -> str:
        return f"oci://{self._reference.host}/{self._reference.name}"


def _referrers_tag(subject: str) -> str:
    return subject.replace(":", "-")
