"""Saying who we are when a registry asks: Basic, or a bearer token from the server that it names.

https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/; RFC 9110, 11.6.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import requests
from requests.auth import AuthBase

from packager.errors import NetworkError
from packager.oci.credentials import basic
from packager.oci.reference import is_loopback

if TYPE_CHECKING:
    from packager.oci.credentials import Credentials
    from packager.oci.reference import Reference

_OK = 200
_TIMEOUT = (10.0, 30.0)
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class Authorization(AuthBase):
    """Puts the Authorization header into requests to the registry, and into no others.

    It is a session's `auth`, so that requests never takes a header from ``.netrc`` instead.
    """

    def __init__(self, reference: Reference, credentials: Credentials | None, session: requests.Session) -> None:
        self._host = reference.server
        self._credentials = credentials
        self._session = session
        self._header = ""

    @property
    def known(self) -> bool:
        """Whether there were credentials."""
        return self._credentials is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        held = self._credentials.secrets if self._credentials else ()
        return (*held, *filter(None, [self._header.partition(" ")[2]]))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request, with the header where it goes to the registry."""
        if self._header and urlsplit(request.url or "").netloc == self._host:
            request.headers["Authorization"] = self._header
        return request

    def answer(self, refused: requests.Response) -> bool:
        """Get ready for what the registry asks with status 401; False: there is nothing to say.

        Raises:
            NetworkError: the token server can't be reached, or refuses.
        """
        challenge = refused.headers.get("WWW-Authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials is not None and self._credentials.user:
            self._header = f"Basic {basic(self._credentials)}"
            return True
        if scheme.lower() != "bearer":
            return False
        parameters: dict[str, str] = {match[1]: match[2] for match in _PARAMETER.finditer(rest)}
        self._header = f"Bearer {self._token(parameters)}"
        return True

    def _token(self, parameters: dict[str, str]) -> str:
        realm = parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
            raise NetworkError("source.authentication", f"'{self._host}' names no https token server")
        asked: dict[str, str] = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        held = self._credentials
        try:
            if held is not None and held.identity_token:
                form: dict[str, str] = {
                    **asked,
                    "grant_type": "refresh_token",
                    "refresh_token": held.identity_token,
                    "client_id": "pack",
                }
                answer = self._session.post(realm, data=form, auth=_nobody, timeout=_TIMEOUT)
            else:
                who = (held.user, held.password) if held is not None and held.user else _nobody
                answer = self._session.get(realm, params=asked, auth=who, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise NetworkError("source.unreachable", f"the token server of '{self._host}' can't be reached") from error
        if answer.status_code != _OK:
            raise NetworkError(
                "source.authentication",
                f"the token server of '{self._host}' refuses who you are: status {answer.status_code}",
                hint=f"docker login {self._host}",
            )
        try:
            token = msgspec.json.decode(answer.content, type=_Token)
        except msgspec.DecodeError as error:
            raise NetworkError("source.authentication", f"the token server of '{self._host}' sends no token") from error
        return token.token or token.access_token


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No Authorization header, and none from ``.netrc``."""
    return request
