"""An address that takes CloudEvents: HTTP POST in structured mode (CloudEvents HTTP protocol binding 1.0.2, 3.2).

The same event may come twice, when an answer was lost: its `id` is the same, and is repeated as ``Idempotency-Key``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from fleet.sinks._sink import DeliveryError

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.config import WebhookSink
    from fleet.sinks._sink import Event

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
LONGEST_WAIT = 3600.0
"""Seconds; a receiver that asks for more is asked again after this."""


async def deliver(sink: WebhookSink, event: Event, workspace: Path) -> str:
    """The status, once the receiver answered with one that says it took the event.

    Raises:
        DeliveryError: it didn't answer, or with another status; final for those that say the request itself is wrong.
    """
    headers = {"content-type": MEDIA_TYPE, "idempotency-key": event.id, "user-agent": "packtrain"}
    if sink.token_file:
        headers["authorization"] = f"Bearer {_read_token(workspace / sink.token_file)}"
    try:
        # The answer's body is of no interest and may be large: only its head is read.
        async with (
            httpx.AsyncClient(timeout=sink.timeout) as client,
            client.stream("POST", sink.url, content=event.body, headers=headers) as response,
        ):
            status = response.status_code
            retry_after = response.headers.get("retry-after", "")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryError(f"no answer: {type(error).__name__}: {error}") from error
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return f"HTTP {status}"
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    wait = min(float(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else 0.0
    raise DeliveryError(f"refused with HTTP {status}", final=not passing, retry_after=wait)


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise DeliveryError(f"token file '{path.name}' can't be read: {error.strerror}") from error
