"""One file on a web server: ``https://HOST/PATH``, and ``http://`` on this machine alone.

Credentials come from ``.netrc``, else from the keyring. Interrupted downloads go on with Range and If-Range (RFC 9110,
13.1.5 and 14.2).
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from manifests.manifest import LineageSection
from packager.downloads import download as download_file
from packager.downloads import partial_path, place_below, refuse_large
from packager.errors import ConfigError, NetworkError
from packager.keyrings import ask_keyring
from packager.oci.reference import is_loopback
from packager.redaction import redact
from packager.sources._remote import Request, fetch_remote
from packager.sources._source import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

    from packager.cache import Cache
    from packager.config import Project
    from packager.sources._source import Bounds, Fetched
    from packager.worker import Workers

DISTRIBUTIONS = ("requests",)
EXTRA = "https"

_BLOCK = 64 << 10
_TIMEOUT = (10.0, 60.0)
_MOST_REDIRECTS = 10
_OK, _PARTIAL = 200, 206
_UNAUTHORIZED = 401
_REFUSED = {_UNAUTHORIZED, 403, 407}
_MISSING = {404, 410}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A file on a web server."""

    url: str


def matches(reference: str) -> bool:
    """``https:...`` and ``http:...``."""
    return reference.startswith(("https:", "http:"))


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The file; it is asked for each time whether it has changed."""
    url = project.model.source
    _check_address(url, "'model.source'")
    request = Request(source="https", order=Order(url=url), distributions=DISTRIBUTIONS, extra=EXTRA)
    return fetch_remote(request, project, cache, workers)


def identify(order: Order) -> Identity:
    """The server's validator: its entity tag, else the time of the last change."""
    with closing(_get(order.url, {})) as answer:
        validator = _validator(answer)
    return Identity(text=f"{order.url} {validator}" if validator else "")


def download(order: Order, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
    """The file under the last part of its address."""
    name = unquote(urlsplit(order.url).path.rpartition("/")[2]) or "model"
    target = place_below(out, name)
    with closing(_get(order.url, {})) as answer:
        size, validator = _size(answer), _validator(answer)
        refuse_large(name, size or 0, bounds.size)
        if not size or not validator:
            _receive_unannounced(answer, name, target, bounds.size)
            return LineageSection()
    place = partial_path(bounds.partials, identity.text)
    download_file(place, target, name, size, partial(_read, order.url, validator))
    return LineageSection()


def _read(url: str, validator: str, offset: int) -> tuple[int, Iterator[bytes]]:
    """The file from `offset` on if it is still the same, else from its start."""
    headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
    answer = _get(url, headers)
    if _validator(answer) != validator:
        answer.close()
        raise ConfigError("source.changed", f"'{redact(url)}' changed while it was fetched", hint="run it again")
    return (offset if answer.status_code == _PARTIAL else 0), _blocks(answer)


def _receive_unannounced(answer: requests.Response, name: str, target: Path, limit: int) -> None:
    """Write what a server sends that doesn't say how much, or which version, it is: nothing can go on with that."""
    size = 0
    with target.open("xb") as sink:
        for block in _blocks(answer):
            size += len(block)
            refuse_large(name, size, limit)
            sink.write(block)


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    with closing(answer), _errors(answer.url):
        yield from answer.iter_content(_BLOCK)


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    """The server's answer, whose body was not read yet.

    Redirections are followed here, so that each one is looked at and takes its own host's entry of ``.netrc``.
    """
    import requests

    headers = {"Accept-Encoding": "identity", **headers}
    place = url
    for _ in range(_MOST_REDIRECTS):
        with _errors(url):
            answer = requests.get(place, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False)
        held = ask_keyring(urlsplit(place).netloc) if answer.status_code == _UNAUTHORIZED else None
        if held is not None:
            answer.close()
            with _errors(url):
                answer = requests.get(
                    place, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False, auth=held
                )
        if not answer.is_redirect:
            _expect(answer, url)
            return answer
        answer.close()
        place = urljoin(place, answer.headers["Location"])
        _check_address(place, f"a redirection of '{redact(url)}'", redirected=True)
    raise NetworkError("source.unreachable", f"'{redact(url)}' redirects more than {_MOST_REDIRECTS} times")


def _expect(answer: requests.Response, url: str) -> None:
    if answer.status_code in {_OK, _PARTIAL}:
        return
    answer.close()
    what, status = redact(url), f"status {answer.status_code}"
    if answer.status_code in _REFUSED:
        host = urlsplit(url).hostname
        raise NetworkError(
            "source.authentication", f"'{what}' refuses who you are: {status}", hint=f"~/.netrc: machine {host} login …"
        )
    if answer.status_code in _MISSING:
        raise ConfigError("source.missing", f"no model at '{what}': {status}")
    raise NetworkError("source.unreachable", f"'{what}' answers with {status}", hint="run it again later")


def _check_address(url: str, what: str, *, redirected: bool = False) -> None:
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))):
        return
    error = NetworkError if redirected else ConfigError
    raise error("source.plain", f"{what}: expected an https:// address, got '{redact(url)}'")


def _size(answer: requests.Response) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _validator(answer: requests.Response) -> str:
    """What If-Range takes: a strong entity tag or a date; a weak tag says too little."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


@contextmanager
def _errors(url: str) -> Iterator[None]:
    import requests

    try:
        yield
    except (requests.RequestException, OSError) as error:
        said = re.sub(r"<[^>]*>: ?", "", redact(str(error)))[:300]
        raise NetworkError(
            "source.unreachable", f"'{redact(url)}' can't be fetched: {said}", hint="run it again: what arrived is kept"
        ) from error
