"""A keyring that holds one password, for ``https://`` and the host that the environment names."""

from __future__ import annotations

import os

from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential

PASSWORD = "planted-keyring-password"  # noqa: S105 - planted


class Vault(KeyringBackend):
    priority = 1.0

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        assert username is None
        host = os.environ.get("VAULT_HOST")  # unset: another test's process, which knows this class too
        if host and service == f"https://{host}":
            return SimpleCredential("keeper", PASSWORD)
        return None

    def get_password(self, service: str, username: str) -> str | None:
        del service, username
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError
