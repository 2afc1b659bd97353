"""Text without the secrets that it may hold, for messages, logs and manifests.

Two kinds are known: what looks like one wherever it stands (user information and queries of URLs, authorization
headers), and the values of this process' environment whose names say that they are secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from packager.config import secret_values

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"

_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"<>]*@")
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"<>]*)\?[^\s'\"<>]+")
_PARAMETER = re.compile(
    r"(?i)\b((?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|token|access_token|password)=)"
    r"[^\s&'\"<>]+"
)
_HEADER = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|token)\s+)[^\s'\",]+")
_SECRET_PARAMETER = re.compile(r"(?i)signature|^sig$|token|credential|password|secret|^key$|api.?key|accesskey|policy")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with everything that looks like a secret, the environment's secrets and `secrets` hidden."""
    for value in sorted({*secret_values(), *secrets}, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1?{HIDDEN}", text)
    text = _PARAMETER.sub(rf"\1{HIDDEN}", text)
    return _HEADER.sub(rf"\1{HIDDEN}", text)


def secret_in(url: str) -> str:
    """What in a URL is a secret, in words; nothing where there is none."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return "a user or a password"
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if _SECRET_PARAMETER.search(name)]
    return f"a signature or a token ('{names[0]}')" if names else ""
