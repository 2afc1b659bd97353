from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.config import default_state, read_config
from agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = """
device = "camera-1"
fleet = "demo"
state = "state"
targets = ["edge-arm", "cloud"]
key = "device.key"
root = "/etc/root.json"
[broker]
host = "broker.example"
port = 8883
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, MINIMAL + 'password_file = "secret"\n[broker.tls]\nca = "tls/ca.pem"\n'))
    assert config.state == tmp_path / "state"
    assert str(config.root) == "/etc/root.json"
    assert config.broker.password_file == tmp_path / "secret"
    assert config.broker.tls is not None
    assert config.broker.tls.ca == tmp_path / "tls" / "ca.pem"
    assert (config.health.timeout, config.health.policy, config.telemetry.interval) == (60.0, "application", 60.0)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        (MINIMAL + "[health]\ntime_out = 3\n", "config.field", "$.health"),
        (MINIMAL + '[health]\npolicy = "hope"\n', "config.field", "$.health.policy"),
        (MINIMAL + "[telemetry]\ninterval = 0\n", "config.field", "$.telemetry.interval"),
        (MINIMAL.replace("8883", "99999"), "config.field", "$.broker.port"),
        (MINIMAL.replace('"camera-1"', '"../camera"'), "config.field", "$.device"),
        (MINIMAL.replace('["edge-arm", "cloud"]', "[]"), "config.field", "$.targets"),
        (MINIMAL.replace('key = "device.key"\n', ""), "config.field", "key"),
        ("device = ", "config.toml", "agent.toml"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(tmp_path: Path, text: str, code: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))
    assert caught.value.code == code
    assert named in str(caught.value)


def test_a_configuration_that_is_not_there_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "agent.toml")
    assert caught.value.hint


@pytest.mark.parametrize(("value", "expected"), [("/srv/agent", "/srv/agent"), ("", "/var/lib/pack-agent")])
def test_the_state_folder_of_applications_is_the_environments(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setenv("PACK_AGENT_STATE", value)
    assert str(default_state()) == expected
