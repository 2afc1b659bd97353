"""Attacks and accidents between server and device, each against the real trust chain."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.errors import IncompatibleError, RefusedError, UnreachableError
from agent.jobs import Done, Fetch, Verify
from agent.slots import Slots
from agent.source import Source
from agent.updater import Update
from manifests.digests import digest_bytes, digest_file
from manifests.manifest import RuntimeSection

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.config import AgentConfig
    from agent.download import Progress
    from agent.errors import AgentError
    from agent.jobs import AnyLine
    from wire.messages import Desired

BALLAST = 300_000
"""Some five chunks."""


class Updater:
    """The updater's process, without the process."""

    def __init__(self, config: AgentConfig, server: Any, link: Any) -> None:  # noqa: ANN401 - fakes of the conftest
        self.config = config
        self.server = server
        self.link = link
        self.lines: list[AnyLine] = []

    def verify(self, envelope: bytes, newest: int = 0) -> int:
        job = Verify(config="agent.toml", envelope=envelope, newest=newest)
        return self._update().verify(job).sequence

    def fetch(self, desired: Desired, *, envelope: bytes | None = None) -> Progress:
        self.lines.clear()
        job = Fetch(
            config="agent.toml",
            envelope=envelope or self.server.assign(1, desired),
            newest=0,
            desired=desired,
            slot="a",
        )
        return self._update().fetch(job)

    def steps(self) -> list[tuple[str, str | None]]:
        steps = [line.step for line in self.lines if isinstance(line, Done)]
        return [(step.step, step.fault.code if step.fault else None) for step in steps]

    def staged(self) -> bool:
        return Slots(self.config.state).folder("digits", "a").exists()

    def _update(self) -> Update:
        source = Source(self.link, topic="pt/v1/demo/d/camera-1/get", clock=time.monotonic, timeout=0.02)
        return Update(self.config, source, self.lines.append)


@pytest.fixture
def updater(config: AgentConfig, server: Any, link: Any) -> Updater:  # noqa: ANN401 - fakes of the conftest
    return Updater(config, server, link)


def refused(kind: type[AgentError], code: str, call: Callable[[], object]) -> AgentError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code
    return caught.value


def test_a_published_and_assigned_bundle_is_staged_byte_for_byte(updater: Updater) -> None:
    bundle = updater.server.forge.make("1", ballast=BALLAST)
    progress = updater.fetch(updater.server.publish(bundle))
    assert updater.steps() == [
        ("metadata", None),
        ("assignment", None),
        ("compatibility", None),
        ("download", None),
        ("stage", None),
    ]
    assert progress.fetched == len(set(updater.server.asked("chunk")))
    slot = Slots(updater.config.state).folder("digits", "a")
    for entry in bundle.manifest.files:
        assert digest_file(slot / "files" / entry.path) == entry.digest
    assert not list((updater.config.state / "staging").iterdir())


def test_a_damaged_chunk_is_asked_for_again_and_then_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", ballast=BALLAST))
    bad = list(updater.server.chunks)[3]
    updater.server.damaged = {bad}
    refused(RefusedError, "download.digest", lambda: updater.fetch(desired))
    assert updater.server.asked("chunk").count(bad) == 3
    assert updater.steps()[-1] == ("download", "download.digest")
    assert not updater.staged()


def test_a_chunk_that_is_damaged_once_on_its_way_does_no_harm(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", ballast=BALLAST))
    bad = list(updater.server.chunks)[3]
    updater.server.damaged = {bad}
    answer = updater.server.answer

    def heal(get: Any) -> Any:  # noqa: ANN401 - as the server's
        answers = answer(get)
        if get.name == bad:
            updater.server.damaged = set()
        return answers

    updater.server.answer = heal
    updater.fetch(desired)
    assert updater.staged()


def test_a_download_that_breaks_off_goes_on_where_it_stood(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", ballast=BALLAST))
    updater.server.answers_left = 9
    refused(UnreachableError, "source.silent", lambda: updater.fetch(desired))
    assert not updater.staged()
    updater.server.answers_left = None
    updater.server.served.clear()
    progress = updater.fetch(desired)
    assert progress.kept > 0
    assert progress.fetched == len(updater.server.asked("chunk"))
    assert progress.fetched + progress.kept == len(updater.server.chunks)
    assert updater.staged()


def test_chunks_that_a_power_cut_damaged_are_fetched_again(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", ballast=BALLAST))
    updater.server.answers_left = 9
    refused(UnreachableError, "source.silent", lambda: updater.fetch(desired))
    for blob in (updater.config.state / "staging").rglob("*"):
        if blob.is_file():
            blob.write_bytes(b"\0" * blob.stat().st_size)
    updater.server.answers_left = None
    updater.fetch(desired)
    assert updater.staged()


def test_files_that_another_slot_has_are_not_fetched_again(updater: Updater) -> None:
    server = updater.server
    bundle = server.forge.make("1", ballast=BALLAST)
    server.forge.install(updater.config.state, bundle)
    Slots(updater.config.state).switch("digits", None)
    desired = server.publish(bundle)
    updater.fetch(desired)
    fetched = sum(len(server.chunks[name]) for name in server.asked("chunk"))
    assert fetched < 10_000


def test_a_replayed_assignment_is_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    old = updater.server.assign(4, desired)
    assert updater.verify(old, newest=4) == 4
    refused(RefusedError, "assignment.replayed", lambda: updater.verify(old, newest=5))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"device": "camera-2"}, "assignment.device"),
        ({"fleet": "other"}, "assignment.fleet"),
        ({"signer": "stranger"}, "signature.bad"),
        ({"signer": "packer"}, "signature.bad"),
        ({"signer": "timestamp"}, "signature.bad"),
    ],
)
def test_an_assignment_for_another_or_by_another_is_refused(
    updater: Updater, changes: dict[str, str], code: str
) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    envelope = updater.server.assign(1, desired, **changes)
    refused(RefusedError, code, lambda: updater.verify(envelope))


@pytest.mark.parametrize("envelope", [b"", b"{}", b"\xff\x00", b'{"payload": 1}', b"[" * 5000])
def test_what_is_no_envelope_is_refused(updater: Updater, envelope: bytes) -> None:
    with pytest.raises(RefusedError):
        updater.verify(envelope)


def test_an_assignment_that_names_a_model_twice_is_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    envelope = updater.server.assign(1, desired, desired)
    refused(RefusedError, "assignment.twice", lambda: updater.verify(envelope))


def test_downgraded_metadata_is_refused(updater: Updater) -> None:
    old = dict(updater.server.metadata)
    desired = updater.server.publish(updater.server.forge.make("1"))
    updater.fetch(desired)
    updater.server.metadata = old
    envelope = updater.server.assign(1, desired)
    refused(UnreachableError, "metadata.downgrade", lambda: updater.verify(envelope))


def test_a_server_that_only_has_the_online_keys_can_not_list_a_bundle(updater: Updater) -> None:
    server = updater.server
    server.keys["targets"] = server.keys["timestamp"]
    desired = server.publish(server.forge.make("1"))
    refused(UnreachableError, "metadata.signature", lambda: updater.fetch(desired))
    assert not updater.staged()


def test_frozen_metadata_is_refused_when_it_expires(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    updater.server.commit(expires=datetime.now(UTC) - timedelta(days=1))
    refused(UnreachableError, "metadata.expired", lambda: updater.fetch(desired))


def test_a_bundle_that_the_targets_role_does_not_list_is_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    unlisted = msgspec.structs.replace(desired, release="releases/digits/9/cloud.json")
    refused(RefusedError, "metadata.target", lambda: updater.fetch(unlisted))
    assert not updater.server.asked("chunk")


def test_a_release_record_that_was_changed_on_its_way_is_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    name = next(name for name in updater.server.targets if "releases" in name)
    updater.server.targets[name] = updater.server.targets[name].replace(b'"counter":1', b'"counter":2')
    refused(UnreachableError, "metadata.digest", lambda: updater.fetch(desired))


@pytest.mark.parametrize(
    "changes", [{"version": "2"}, {"counter": 7}, {"target": "edge-arm"}, {"bundle": digest_bytes(b"other")}]
)
def test_an_assignment_that_says_other_than_the_release_record_is_refused(
    updater: Updater, changes: dict[str, object]
) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    lie = msgspec.structs.replace(desired, **changes)
    refused(RefusedError, "release.mismatch", lambda: updater.fetch(lie))
    assert not updater.server.asked("chunk")


def test_a_bundle_that_the_assignment_does_not_name_is_not_fetched(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    other = updater.server.assign(1)
    refused(RefusedError, "assignment.model", lambda: updater.fetch(desired, envelope=other))


def test_a_bundle_that_no_packer_signed_is_refused(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"), signer="stranger")
    refused(RefusedError, "signature.bad", lambda: updater.fetch(desired))
    assert updater.steps()[-1] == ("stage", "signature.bad")
    assert not updater.staged()


def test_a_signature_of_another_bundle_is_refused(updater: Updater) -> None:
    server = updater.server
    other = server.publish(server.forge.make("2"))
    name = next(name for name in server.targets if other.release.split("/")[2] + "/" in name)
    borrowed = msgspec.json.decode(server.targets[name])["signature"]
    desired = server.publish(server.forge.make("1"), signature=borrowed)
    refused(RefusedError, "signature.subject", lambda: updater.fetch(desired))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"runtime": RuntimeSection(kind="coreml", minimum="1", entry="m")}, "agent.runtime-missing"),
        ({"runtime": RuntimeSection(kind="onnxruntime", minimum="99.1", entry="m")}, "agent.runtime-version"),
        ({"architectures": ("sparc",)}, "agent.architecture"),
    ],
)
def test_an_incompatible_bundle_is_refused_before_a_byte_is_downloaded(
    updater: Updater, changes: dict[str, Any], code: str
) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"), **changes)
    refused(IncompatibleError, code, lambda: updater.fetch(desired))
    assert updater.steps()[-1] == ("compatibility", code)
    assert not updater.server.asked("chunk")


def test_a_target_that_the_device_does_not_take_is_refused_before_a_byte_is_downloaded(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", target="winml"))
    refused(IncompatibleError, "agent.target", lambda: updater.fetch(desired))
    assert not updater.server.asked("chunk")


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused_before_a_byte_is_downloaded(
    updater: Updater, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = updater.server.publish(updater.server.forge.make("1", ballast=BALLAST))
    monkeypatch.setattr("agent.inventory.disk_free", lambda _folder: 1000)
    refused(IncompatibleError, "agent.disk", lambda: updater.fetch(desired))
    assert not updater.server.asked("chunk")


def test_a_record_that_makes_the_bundle_look_compatible_is_refused(updater: Updater) -> None:
    lie = RuntimeSection(kind="onnxruntime", minimum="1.0", entry="model.onnx")
    desired = updater.server.publish(updater.server.forge.make("1"), runtime=lie)
    refused(RefusedError, "release.mismatch", lambda: updater.fetch(desired))
    assert not updater.staged()


def test_nonsense_on_the_answers_topic_is_passed_over(updater: Updater) -> None:
    from agent.link import Connected, Received

    desired = updater.server.publish(updater.server.forge.make("1"))
    for payload in (b"", b"\xff" * 99, msgspec.msgpack.encode({"id": "zz", "status": "ok"})):
        updater.link.events.put(Received("pt/v1/demo/d/camera-1/data", payload))
    updater.link.events.put(Connected())
    updater.fetch(desired)
    assert updater.staged()


def test_a_lost_request_is_sent_again(updater: Updater) -> None:
    desired = updater.server.publish(updater.server.forge.make("1"))
    answer = updater.server.answer
    updater.server.answer = lambda get: answer(get) if len(updater.server.served) % 3 else (answer(get), [])[1]
    updater.fetch(desired)
    assert updater.staged()
