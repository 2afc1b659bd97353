from __future__ import annotations

import pytest

from packager.errors import ConfigError
from packager.oci.reference import is_loopback, parse_reference


@pytest.mark.parametrize(
    ("written", "base", "wanted"),
    [
        ("oci://registry.example.com/team/net:3", "https://registry.example.com/v2/team/net", "3"),
        ("oci://localhost:5000/net:latest", "http://localhost:5000/v2/net", "latest"),
        ("oci://[::1]:5000/net:1", "http://[::1]:5000/v2/net", "1"),
        ("oci://docker.io/me/net:1", "https://registry-1.docker.io/v2/me/net", "1"),
        (f"oci://host/net:1@sha256:{'0' * 64}", "https://host/v2/net", f"sha256:{'0' * 64}"),
    ],
)
def test_a_reference_says_where_and_what(written: str, base: str, wanted: str) -> None:
    reference = parse_reference(written)
    assert (reference.base, reference.wanted, str(reference)) == (base, wanted, written)


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "127.9.9.9:5000", "[::1]:5000"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1", "[2001:db8::1]:5000"]
)
def test_another_machine_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_reference_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="holds no credentials") as caught:
        parse_reference("oci://me:planted@host/net:1")
    assert "planted" not in f"{caught.value} {caught.value.hint}"
