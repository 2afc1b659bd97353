from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from manifests.manifest import QuantizationParameters, SignatureSection, TaskSection, TensorSection
from packager.errors import ConfigError, ConversionError
from packager.measures.baseline import MOST_FEATURES, describe_training
from packager.measures.golden import write_npz
from packager.measures.latency import measure_latency
from packager.measures.parity import FAR, compare_outputs
from packager.measures.quiet import Turns
from packager.measures.running import Shipped, call_size, run_all
from packager.measures.scores import score
from packager.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manifests.section import DType
    from targets._target import Fidelity

CLASSES = TaskSection(kind="classification", output="p", labels=("cat", "dog"))


class Doubling:
    """A model that doubles its input and remembers the batches it was given."""

    fidelity: Fidelity = "emulated"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    def close(self) -> None: ...


def tensor(name: str, shape: tuple[int | str, ...], dtype: DType = "float32", scale: float = 0.0) -> TensorSection:
    quantization = QuantizationParameters(scale=scale, zero_point=3) if scale else None
    return TensorSection(name=name, dtype=dtype, shape=shape, quantization=quantization)


@pytest.mark.parametrize(("size", "batches"), [(None, [10]), (1, [1] * 10), (4, [4, 4, 4])])
def test_all_samples_are_run_in_the_batches_that_the_file_takes(size: int | None, batches: list[int]) -> None:
    model = Doubling()
    x = np.arange(10.0)
    np.testing.assert_array_equal(run_all(model, {"x": x}, size)["y"], x * 2)
    assert model.batches == batches


def test_the_batch_is_the_first_dimension_where_it_is_fixed() -> None:
    assert call_size(SignatureSection(inputs=(tensor("x", ("N", 3)),), outputs=())) is None
    assert call_size(SignatureSection(inputs=(tensor("x", (4, 3)),), outputs=())) == 4


def test_inputs_without_a_common_axis_of_samples_take_their_own_rows_in_each_call() -> None:
    class Stepping:
        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            assert {name: array.shape for name, array in inputs.items()} == {"x": (1, 3), "h": (2, 5), "rate": ()}
            return {"y": inputs["x"], "next": inputs["h"] + inputs["rate"]}

    entries = (tensor("x", (1, 3)), tensor("h", (2, 5)), tensor("rate", ()))
    size = call_size(SignatureSection(inputs=entries, outputs=()))
    assert size == {"x": 1, "h": 2, "rate": 0}
    inputs = {"x": np.ones((9, 3)), "h": np.ones((8, 5)), "rate": np.arange(9.0)}
    outputs = run_all(Stepping(), inputs, size)
    assert outputs["y"].shape == (4, 3)
    assert outputs["next"][:, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_batch_that_is_an_inner_axis_elsewhere_is_the_same_in_every_call() -> None:
    entries = (tensor("x", ("batch", 3)), tensor("h", (2, "batch", 5)))
    assert call_size(SignatureSection(inputs=entries, outputs=())) == {"x": 8, "h": 2}


def test_a_quantized_file_is_given_and_gives_stored_values() -> None:
    signature = SignatureSection(
        inputs=(tensor("x", ("N",), "int8", 0.5),), outputs=(tensor("y", ("N",), "int8", 0.25),)
    )
    shipped = Shipped(Doubling(), signature)
    stored = shipped.stored_inputs({"x": np.array([0.0, 1.0, 1e9])})
    assert stored["x"].dtype == np.int8
    assert stored["x"].tolist() == [3, 5, 127]
    np.testing.assert_array_equal(shipped.real_outputs({"y": np.array([3, 7], dtype=np.int8)})["y"], [0.0, 1.0])


def test_parity_is_the_largest_difference_relative_to_the_largest_output() -> None:
    (found,) = compare_outputs({"y": np.array([1.0, -4.0])}, {"y": np.array([1.5, -4.0])})
    assert (found.max_absolute, found.max_relative) == (0.5, 0.125)


def test_parity_over_all_values_is_their_root_mean_square_relative_to_the_sources() -> None:
    (found,) = compare_outputs({"y": np.array([3.0, -4.0, 0.0])}, {"y": np.array([3.0, -4.0, 0.5])})
    assert found.rms_relative == pytest.approx(0.1)
    (far,) = compare_outputs({"y": np.array([1e200, 1e200])}, {"y": np.array([1e200, 1.1e200])})
    assert far.rms_relative == pytest.approx(0.1 / np.sqrt(2))
    (nothing,) = compare_outputs({"y": np.zeros(4)}, {"y": np.array([0, 0, 0, 1.0])})
    assert nothing.rms_relative == 0.5


def test_parity_takes_nan_for_nan_and_nothing_else() -> None:
    nan = np.array([np.nan, 1.0])
    assert compare_outputs({"y": nan}, {"y": nan})[0].max_absolute == 0
    assert compare_outputs({"y": np.array([2.0, 1.0])}, {"y": nan})[0].max_relative == FAR
    assert compare_outputs({"y": np.array([np.inf])}, {"y": np.array([1.0])})[0].max_relative == FAR
    assert compare_outputs({"y": np.array([np.inf])}, {"y": np.array([np.inf])})[0].max_relative == 0


def test_parity_of_outputs_that_are_all_zero_is_the_absolute_difference() -> None:
    assert compare_outputs({"y": np.zeros(2)}, {"y": np.array([0, 0.25])})[0].max_relative == 0.25


def test_parity_of_text_is_equality() -> None:
    text = np.array(["a", "b"], dtype=object)
    assert compare_outputs({"y": text}, {"y": text})[0].max_relative == 0
    assert compare_outputs({"y": text}, {"y": text[::-1]})[0].max_relative == 1


@pytest.mark.parametrize(
    ("shipped", "code"), [({}, "parity.output"), ({"y": np.zeros((2, 1))}, "parity.shape")], ids=["missing", "reshaped"]
)
def test_parity_refuses_other_outputs(shipped: dict[str, np.ndarray], code: str) -> None:
    with pytest.raises(ConversionError) as caught:
        compare_outputs({"y": np.zeros(2)}, shipped)
    assert caught.value.code == code


def test_accuracy_is_compared_on_the_same_labels() -> None:
    labels = np.array(["cat", "dog", "dog", "cat"])
    right = {"p": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])}
    wrong = {"p": right["p"][:, ::-1]}
    found = score(CLASSES, right, wrong, labels)
    assert found is not None
    assert (found.source, found.shipped, found.drop, found.samples) == (1.0, 0.0, 1.0, 4)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([0.0, 1.0]), np.array(["0", "1"])])
def test_labels_without_names_are_numbers_however_a_table_stores_them(labels: np.ndarray) -> None:
    task = TaskSection(kind="classification", output="p")
    outputs = {"p": np.array([[0.9], [0.4]])}
    found = score(task, outputs, outputs, labels)
    assert found is not None
    assert found.source == 0.0


def test_a_label_that_the_model_does_not_know_is_refused() -> None:
    outputs = {"p": np.zeros((1, 2))}
    with pytest.raises(ConfigError, match="label 'cow' is none of the model's: expected cat, dog"):
        score(CLASSES, outputs, outputs, np.array(["cow"]))


def test_a_regressor_is_scored_by_r_squared() -> None:
    task = TaskSection(kind="regression", output="v")
    wanted = np.array([1.0, 2.0, 3.0])
    found = score(task, {"v": wanted.reshape(-1, 1)}, {"v": np.full((3, 1), 2.0)}, wanted)
    assert found is not None
    assert (found.source, found.shipped) == (1.0, 0.0)


@pytest.mark.parametrize("label", ["two", ""])
def test_a_regressors_label_that_is_no_number_is_refused(label: str) -> None:
    values = {"v": np.zeros((2, 1))}
    with pytest.raises(ConfigError, match="a label is not a number, and the model is a regressor"):
        score(TaskSection(kind="regression", output="v"), values, values, np.array(["1", label]))


def test_a_baseline_counts_every_sample_in_bins_of_about_equal_share() -> None:
    random = np.random.default_rng(0)
    x = np.stack([random.standard_normal(1000), np.full(1000, 7.0), random.integers(0, 2, 1000)], axis=1)
    outputs = {"p": np.stack([x[:, 2], 1 - x[:, 2]], axis=1)}
    samples = Samples({"x": x.astype(np.float32)}, None, {"x": ("height", "constant", "flag")}, "data")
    baseline = describe_training(samples, outputs, CLASSES)
    height, constant, flag = baseline.features
    assert height.name == "height"
    assert height.counts == (100,) * 10
    assert constant.edges == pytest.approx((6.993, 7.007))
    assert constant.counts == (0, 1000, 0)
    assert flag.edges == (0.5, 1.5)
    assert flag.counts == (int((x[:, 2] == 0).sum()), int((x[:, 2] == 1).sum()), 0)
    assert baseline.predictions is not None
    assert baseline.predictions.counts == (int(x[:, 2].sum()), 1000 - int(x[:, 2].sum()))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(0, 17, 500).astype(float),
        np.random.default_rng(0).choice([0.1, 0.2, 0.3, 0.7], 500),
        np.full(500, 16.0),
        np.zeros(500),
    ],
    ids=["whole-numbers", "fractions", "constant", "zero"],
)
def test_rounding_and_tiny_noise_move_no_discrete_value_into_another_bin(values: np.ndarray) -> None:
    samples = Samples({"x": values.reshape(-1, 1)}, None, {}, "data")
    (feature,) = describe_training(samples, {}, TaskSection()).features
    noise = np.random.default_rng(1).uniform(-9e-4, 9e-4, len(values))
    for seen in (values.astype(np.float32).astype(float), values + noise):
        counts = np.bincount(np.searchsorted(feature.edges, seen, side="left"), minlength=len(feature.counts))
        assert tuple(counts) == feature.counts
    moved = np.bincount(np.searchsorted(feature.edges, values + 20, side="left"), minlength=len(feature.counts))
    assert tuple(moved) != feature.counts


def test_edges_rise_and_are_finite_however_large_the_values() -> None:
    values = np.array([-1.7e308, 0.0, 5e-324, 1.7e308])
    (feature,) = describe_training(Samples({"x": values.reshape(-1, 1)}, None, {}, "data"), {}, TaskSection()).features
    assert np.isfinite(feature.edges).all()
    assert (np.diff(feature.edges) > 0).all()
    assert sum(feature.counts) == 4


def test_a_baseline_describes_at_most_so_many_features() -> None:
    samples = Samples({"x": np.zeros((3, 40, 40), dtype=np.float32)}, None, {}, "data")
    features = describe_training(samples, {}, TaskSection()).features
    assert len(features) == MOST_FEATURES
    assert (features[0].name, features[-1].index) == ("x[0]", 1599)


def test_a_golden_file_is_the_same_bytes_each_time_and_numpy_reads_it(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3.0), "a": np.array(["x", "yy"], dtype=object)}
    write_npz(tmp_path / "one.npz", arrays)
    write_npz(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as archive:
        assert archive["a"].tolist() == ["x", "yy"]
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_latency_stops_at_its_budget_and_its_quantiles_are_ordered(tmp_path: Path) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 0.1
            return self.now

    signature = SignatureSection(inputs=(tensor("x", ("N",)),), outputs=())
    with Turns(tmp_path / "turns") as turns:
        found = measure_latency(Doubling(), {"x": np.zeros(4)}, signature, turns, clock=Clock())
    assert found.alone
    assert found.p50 == pytest.approx(100)
    assert found.p50 <= found.p95 + 1e-9
    assert found.runs < 10
