"""Passwords from the user's keyring, where the library of that name is installed."""

from __future__ import annotations

import importlib.util

from packager.errors import NetworkError


def ask_keyring(host: str) -> tuple[str, str] | None:
    """User and password that the keyring holds for ``https://HOST``, or for the host alone; None: it holds none.

    ``keyring set https://HOST USER`` puts one there.

    Raises:
        NetworkError: the keyring is locked or broken.
    """
    if importlib.util.find_spec("keyring") is None:
        return None
    import keyring
    import keyring.errors

    try:
        for service in (f"https://{host}", host):
            found = keyring.get_credential(service, None)
            if found is not None:
                return found.username, found.password
    except keyring.errors.NoKeyringError:
        return None
    except keyring.errors.KeyringError as error:
        raise NetworkError(
            "credentials.keyring",
            f"the keyring can't be read: {type(error).__name__}",
            hint="unlock it, or use ~/.netrc",
        ) from error
    return None
