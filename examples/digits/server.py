"""The demo's view of the fleet: what `pack-fleet serve` says over HTTP."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import Any

import msgspec

TIMEOUT_SECONDS = 10.0


class Server:
    """A running `pack-fleet serve`."""

    def __init__(self, address: str) -> None:
        self.address = address

    def placement(self, device: str, model: str) -> dict[str, Any] | None:
        """What the device runs of the model; None: nothing was heard of it yet."""
        for entry in self._items(f"models/{model}/where"):
            if entry["device"] == device:
                return entry
        return None

    def runs(self, device: str, model: str, version: str) -> bool | None:
        """True once the device has committed that version, else None."""
        placement = self.placement(device, model)
        if placement is None or placement["active"] is None or placement["state"] != "committed":
            return None
        return True if placement["active"]["version"] == version else None

    def fault(self, device: str, model: str, version: str) -> dict[str, Any] | None:
        """The fault of the newest failed step that brought in that version, with the step's name; None: none failed."""
        detail = self._get(f"devices/{device}")
        for step in detail["steps"]:
            if step["model"] == model and step["version"] == version and step["fault"] is not None:
                return {"step": step["step"], **step["fault"]}
        return None

    def verdict(self, model: str, version: str, *wanted: str) -> dict[str, Any] | None:
        """The newest verdict on that version that had enough to go by, or is one of those wanted; None: none."""
        for entry in self._items("drift", model=model):
            if entry["version"] == version and entry["verdict"] in (wanted or ("stable", "drifted")):
                return entry
        return None

    def requests(self, model: str) -> list[dict[str, Any]]:
        """Retraining requests, the newest first."""
        return self._items("requests", model=model)

    def _items(self, path: str, **query: str) -> list[dict[str, Any]]:
        return self._get(path, **query)["items"]

    def _get(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own server
            return msgspec.json.decode(answer.read())
