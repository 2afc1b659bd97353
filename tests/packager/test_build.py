from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from manifests.attestation import TEST_RESULT_PREDICATE, envelopes
from manifests.bundle import read_bundle, unpack, verify_bundle
from manifests.digests import digest_file
from manifests.layout import Layout
from manifests.signing import generate_key
from packager.build import Built, Failed, build, plan
from packager.config import load_project
from packager.errors import ConfigError, ConversionError, ExitCode, GateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from packager.build import Outcome

FAKES = Path(__file__).parent.parent / "fakes" / "plugin"
CLASSES = 3


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("PACK_CACHE", str(shared_cache))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def write_model(path: Path, *, operator: str = "Softmax", opset: int = 17) -> None:
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.standard_normal((4, CLASSES)).astype(np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"], name="dense"),
            helper.make_node(operator, ["scores"], ["y"], name="last"),
        ],
        "small",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info("y", 1, ["N", CLASSES])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def write_data(path: Path, samples: int = 50) -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((samples, 4)).astype(np.float32)
    np.savez(path, x=x, label=random.integers(0, CLASSES, samples))


DOCUMENT = """
[model]
name = "small"
version = "3"
source = "model.onnx"
[model.task]
kind = "classification"
[data]
calibration = "data.npz"
evaluation = "data.npz"
label = "label"
"""


@pytest.fixture
def project(fakes: None, tmp_path: Path) -> Callable[[str], Path]:
    del fakes

    def write(targets: str, folder: Path = tmp_path) -> Path:
        folder.mkdir(exist_ok=True)
        if not (folder / "model.onnx").exists():
            write_model(folder / "model.onnx")
            write_data(folder / "data.npz")
        (folder / "pack.toml").write_text(DOCUMENT + targets)
        return folder

    return write


def build_in(folder: Path, **options: object) -> tuple[Outcome, ...]:
    return build(load_project(folder), **options)


def only(outcomes: tuple[Outcome, ...]) -> Outcome:
    assert len(outcomes) == 1
    return outcomes[0]


def failure(folder: Path) -> Failed:
    outcome = only(build_in(folder))
    assert isinstance(outcome, Failed)
    assert not Layout.open(folder / ".pack" / "store").references()
    return outcome


def test_a_target_becomes_a_signed_bundle_that_says_what_was_proven(project: Callable[[str], Path]) -> None:
    folder = project("[gates]\naccuracy_drop = '1%'\nsize = '64 KB'\nlatency_p95 = '10 s'\n[targets.null]\n")
    signer = generate_key()
    built = only(build_in(folder, signer=signer))
    assert isinstance(built, Built)
    layout = Layout.open(folder / ".pack" / "store")
    bundle = read_bundle(layout, "small:3@null")
    assert bundle.digest == built.digest
    verify_bundle(layout, bundle, [signer.public_key])
    assert len(envelopes(layout, bundle.descriptor, TEST_RESULT_PREDICATE)) == 1
    manifest = bundle.manifest
    assert [(gate.name, gate.verdict) for gate in manifest.gates] == [
        ("parity", "passed"),
        ("accuracy", "passed"),
        ("size", "passed"),
        ("latency_p95", "passed"),
    ]
    assert manifest.bundle.counter == 3
    assert manifest.parity.samples == 50
    assert manifest.baseline is not None
    assert len(manifest.baseline.features) == 4
    assert manifest.quantization.calibration_samples == 50
    assert manifest.quantization.calibration_digest == digest_file(folder / "data.npz")
    assert built.notes == ("this runs nowhere",)


def test_golden_samples_are_what_the_shipped_file_computes(project: Callable[[str], Path], tmp_path: Path) -> None:
    folder = project("[targets.null]\n")
    build_in(folder)
    layout = Layout.open(folder / ".pack" / "store")
    bundle = read_bundle(layout, "small:3@null")
    unpack(layout, bundle, tmp_path / "unpacked")
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(tmp_path / "unpacked" / bundle.manifest.runtime.entry))
    with np.load(tmp_path / "unpacked" / bundle.manifest.golden_file().path) as golden:
        assert len(golden["input.x"]) == bundle.manifest.golden.samples == 8
        (computed,) = evaluator.run(None, {"x": golden["input.x"]})
        np.testing.assert_array_equal(computed, golden["expected.y"])


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("crash", "worker.crash", "crashed by SIGABRT: the converter's last words"),
        ("traceback", "worker.crash", "ZeroDivisionError: the converter divides by nought"),
        ("refuse", "null.refused", "refuses"),
        ("restless", "golden.repeat", "differs from run to run"),
        ("unlisted", "convert.files", "leftover"),
        ("mislabelled", "bundle.digest", "does not match"),
    ],
)
def test_a_converter_that_fails_is_a_clean_error_and_no_bundle(
    project: Callable[[str], Path], fault: str, code: str, words: str
) -> None:
    failed = failure(project(f"[targets.null]\nfault = '{fault}'\n"))
    assert isinstance(failed.error, ConversionError)
    assert failed.error.exit_code == ExitCode.CONVERSION
    assert failed.error.code == code
    assert words in str(failed.error)


def test_a_converter_that_hangs_is_ended(project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project("[targets.null]\n")
    build_in(folder)
    project("[targets.null]\nfault = 'hang'\n")
    monkeypatch.setenv("PACK_JOB_SECONDS", "3")
    failed = only(build_in(folder))
    assert isinstance(failed, Failed)
    assert failed.error.code == "worker.time"


@pytest.mark.parametrize("fault", ["wrong", "nan"])
def test_numbers_that_are_not_the_models_fail_the_parity_gate(project: Callable[[str], Path], fault: str) -> None:
    failed = failure(project(f"[targets.null]\nfault = '{fault}'\n"))
    assert isinstance(failed.error, GateError)
    assert failed.error.exit_code == ExitCode.GATE
    assert [(gate.name, gate.verdict) for gate in failed.gates] == [("parity", "failed")]


def test_every_node_that_a_target_refuses_is_named_before_it_converts(project: Callable[[str], Path]) -> None:
    folder = project("[targets.null]\nfault = 'crash'\n")
    write_model(folder / "model.onnx", operator="Sin")
    failed = failure(folder)
    assert failed.error.code == "null.unsupported"
    assert "last (Sin): no trigonometry here" in str(failed.error)
    assert failed.error.hint == "use a table"


def test_one_target_fails_and_the_other_is_built(project: Callable[[str], Path]) -> None:
    folder = project("[targets.null]\nfault = 'crash'\n[targets.null-static]\n")
    outcomes = build_in(folder, keep_going=True, jobs=2)
    assert [type(outcome) for outcome in outcomes] == [Failed, Built]
    assert Layout.open(folder / ".pack" / "store").references() == ["small:3@null-static"]


def test_a_target_with_a_fixed_batch_is_measured_on_all_samples(project: Callable[[str], Path]) -> None:
    built = only(build_in(project("[targets.null-static]\n")))
    assert isinstance(built, Built)
    assert built.manifest.signature.inputs[0].shape == (1, 4)
    assert built.manifest.parity.samples == 50


def test_a_failed_gate_leaves_no_bundle_and_a_changed_limit_converts_nothing(project: Callable[[str], Path]) -> None:
    failed = failure(project("[gates]\nsize = '10 B'\n[targets.null]\ncolour = 'red'\n"))
    assert failed.error.code == "gate.size"
    folder = project("[gates]\nsize = '10 KB'\n[targets.null]\ncolour = 'red'\n")
    built = only(build_in(folder))
    assert isinstance(built, Built)
    assert built.cached


def test_a_waiver_lets_a_gate_pass_and_stands_in_the_manifest(project: Callable[[str], Path]) -> None:
    folder = project("[gates]\nsize = '10 B'\nwaivers = { size = 'first pilot' }\n[targets.null]\n")
    built = only(build_in(folder))
    assert isinstance(built, Built)
    size = built.manifest.gates[1]
    assert (size.verdict, size.waiver) == ("waived", "first pilot")


def test_a_changed_option_data_file_or_toolchain_misses_the_cache(
    project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("[targets.null]\n")
    build_in(folder)
    assert plan(load_project(folder))[0].cached
    project("[targets.null]\ncolour = 'blue'\n")
    assert [step.cached for step in plan(load_project(folder))[0].steps] == [True, True, False]
    project("[targets.null]\n")
    before = (folder / "data.npz").read_bytes()
    write_data(folder / "data.npz", samples=51)
    assert [step.cached for step in plan(load_project(folder))[0].steps] == [True, False, False]
    (folder / "data.npz").write_bytes(before)
    assert plan(load_project(folder))[0].cached
    from packager import fingerprints

    installed = fingerprints.installed_version
    monkeypatch.setattr(fingerprints, "installed_version", lambda name: f"{installed(name)}.post1")
    assert not plan(load_project(folder))[0].cached


def test_another_version_of_a_library_that_an_estimator_may_have_parts_of_misses_the_cache(
    project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    from packager import fingerprints

    folder = project("[targets.null]\n")
    rows = np.random.default_rng(0).normal(size=(40, 3))
    skops.io.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), folder / "model.skops")
    document = '[model]\nname = "digits"\nsource = "model.skops"\n[targets.null]\n'
    (folder / "pack.toml").write_text(document)
    build_in(folder)
    assert plan(load_project(folder))[0].steps[1].cached
    installed = fingerprints.installed_version
    monkeypatch.setattr(fingerprints, "installed_version", lambda name: "9.9" if name == "xgboost" else installed(name))
    assert not plan(load_project(folder))[0].steps[1].cached


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model.task]\nkind = 'classification'\noutput = 'z'\n", "'model.task.output': expected one of y, got 'z'"),
        ("[model.inputs.z]\nrange = [0, 1]\n", "'model.inputs.z': the model has no such input"),
        ("[gates]\naccuracy_drop = '1%'\n", "does not say whether it is a classifier"),
    ],
)
def test_a_plan_refuses_what_a_build_refuses(
    project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    monkeypatch.setenv("PACK_CACHE", str(tmp_path / "empty"))
    folder = project("[targets.null]\n")
    document = (folder / "pack.toml").read_text()
    (folder / "pack.toml").write_text(document.replace('[model.task]\nkind = "classification"\n', text))
    with pytest.raises(ConfigError, match=re.escape(message)):
        plan(load_project(folder))
    with pytest.raises(ConfigError, match=re.escape(message)):
        raise_first(build_in(folder))


def raise_first(outcomes: tuple[Outcome, ...]) -> None:
    outcome = only(outcomes)
    assert isinstance(outcome, Failed)
    raise outcome.error


REBUILD = """
import json, resource, sys, time
from pathlib import Path
from packager.build import build
from packager.config import load_project
started = time.process_time()
(built,) = build(load_project(Path(sys.argv[1])))
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cached": built.cached, "digest": built.digest, "modules": sorted(sys.modules),
                  "children": children.ru_utime + children.ru_stime, "cpu": time.process_time() - started}))
"""


def test_a_rebuild_of_unchanged_inputs_starts_no_worker_and_loads_nothing_heavy(
    project: Callable[[str], Path],
) -> None:
    folder = project("[targets.null]\n")
    first = only(build_in(folder))
    assert isinstance(first, Built)
    ran = subprocess.run([sys.executable, "-c", REBUILD, str(folder)], capture_output=True, text=True, check=True)
    report = json.loads(ran.stdout)
    assert report["cached"]
    assert report["digest"] == first.digest
    assert report["children"] == 0
    assert not {"numpy", "onnx", "onnxruntime", "mlflow", "sklearn"}.intersection(report["modules"])


def test_a_damaged_cache_entry_is_made_again(
    project: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACK_CACHE", str(tmp_path / "own-cache"))
    folder = project("[targets.null]\n")
    first = only(build_in(folder))
    damaged = 0
    for path in (tmp_path / "own-cache").rglob("golden.npz"):
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        damaged += 1
    assert damaged == 1
    again = only(build_in(folder))
    assert isinstance(first, Built)
    assert isinstance(again, Built)
    assert not again.cached
    assert again.digest == first.digest


def test_the_same_inputs_give_the_same_bytes_in_another_folder_at_another_time(
    project: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = generate_key()
    digests = []
    for number, name in enumerate(("one", "two")):
        monkeypatch.setenv("PACK_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setenv("PYTHONHASHSEED", str(number + 1))
        monkeypatch.setenv("TZ", ("UTC", "Asia/Tokyo")[number])
        folder = project("[targets.null]\n[targets.cloud]\n", tmp_path / name)
        for path in folder.iterdir():
            os.utime(path, (1_000_000_000 * (number + 1),) * 2)
        outcomes = build_in(folder, signer=signer)
        assert all(isinstance(outcome, Built) and not outcome.cached for outcome in outcomes)
        digests.append([outcome.digest for outcome in outcomes if isinstance(outcome, Built)])
    assert digests[0] == digests[1]


TASK = '[model.task]\nkind = "classification"\n'


def test_a_limit_of_accuracy_that_nothing_can_be_held_against_is_refused_before_anything_is_converted(
    project: Callable[[str], Path],
) -> None:
    folder = project("[gates]\naccuracy_drop = '1%'\n[targets.null]\nfault = 'crash'\n")
    path = folder / "pack.toml"
    written = path.read_text()
    for left_out, hint in (
        (TASK, 'kind = "classification"'),
        ('label = "label"\n', "label in the table [data]"),
    ):
        path.write_text(written.replace(left_out, ""))
        failed = failure(folder)
        assert isinstance(failed.error, ConfigError)
        assert failed.error.exit_code == ExitCode.USAGE
        assert str(failed.error).startswith("'gates.accuracy_drop' can't be checked")
        assert hint in failed.error.hint


def test_a_limit_of_accuracy_without_evaluation_data_is_no_error_and_is_told(project: Callable[[str], Path]) -> None:
    folder = project("[gates]\naccuracy_drop = '1%'\n[targets.null]\n")
    path = folder / "pack.toml"
    path.write_text(path.read_text().replace('evaluation = "data.npz"\n', "").replace(TASK, ""))
    built = only(build_in(folder))
    assert isinstance(built, Built)
    assert [(gate.name, gate.verdict) for gate in built.gates] == [("parity", "passed"), ("accuracy", "no-data")]
    assert built.notes[0] == "the limit of 1% on accuracy was not checked: no evaluation data"


def test_a_classifier_as_skl2onnx_exports_it_is_measured_by_its_probabilities(project: Callable[[str], Path]) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    folder = project("[gates]\naccuracy_drop = '1%'\n[targets.cloud]\n")
    with np.load(folder / "data.npz") as data:
        x, y = data["x"], data["x"][:, 0] > 0
    np.savez(folder / "data.npz", x=x, label=y.astype(np.int64))
    classifier = LogisticRegression().fit(x, y.astype(np.int64))
    exported = to_onnx(classifier, x[:1], options={"zipmap": False}, target_opset=17)
    assert [output.name for output in exported.graph.output] == ["label", "probabilities"]
    onnx.save(exported, folder / "model.onnx")
    built = only(build_in(folder))
    assert isinstance(built, Built), built.error
    assert built.manifest.model.task.output == "probabilities"
    assert built.notes[0] == "of the outputs label, probabilities, 'probabilities' is taken for the scores"
    assert built.scores is not None
    assert built.scores.source == pytest.approx(classifier.score(x, y))


def test_a_name_that_is_no_target_of_the_project_is_refused_with_a_hint(project: Callable[[str], Path]) -> None:
    loaded = load_project(project("[targets.null]\n"))
    with pytest.raises(ConfigError, match="'nul' is not a target") as caught:
        build(loaded, ["nul"])
    assert caught.value.hint == "did you mean 'null'?"


def test_a_model_that_is_not_the_approved_one_is_refused(project: Callable[[str], Path]) -> None:
    loaded = load_project(project("[targets.null]\n"))
    other = msgspec.structs.replace(loaded.model, digest="sha256:" + "0" * 64)
    with pytest.raises(ConversionError, match="does not match"):
        build(msgspec.structs.replace(loaded, model=other))


def test_progress_is_told_each_step_and_whether_the_cache_answered(project: Callable[[str], Path]) -> None:
    class Told:
        def __init__(self) -> None:
            self.steps: list[tuple[str, str, bool]] = []

        def started(self, target: str, step: str) -> None:
            del target, step

        def finished(self, target: str, step: str, seconds: float, *, cached: bool) -> None:
            assert seconds >= 0
            self.steps.append((target, step, cached))

    folder = project("[targets.null]\n")
    build_in(folder)
    told = Told()
    build_in(folder, progress=told, signer=generate_key())
    assert told.steps == [
        ("", "fetch", True),
        ("", "import", True),
        ("null", "convert", True),
        ("null", "gate", False),
        ("null", "bundle", False),
        ("null", "sign", False),
    ]
