"""The search for the narrowest formats."""

from __future__ import annotations

import numpy as np
import pytest

from targets._target import TargetError
from targets.fpga._cost import adder_bits
from targets.fpga._quantization import Quantization, observe
from targets.fpga._reading import read_model
from targets.fpga._search import Limits, compare, holds_classes, real_outputs, search
from tests.targets.fpga.models import mlp

GENERATOR = np.random.default_rng(5)
SAMPLES = GENERATOR.normal(size=(160, 8)).astype(np.float32)
READING = read_model(mlp((8, 12, 4), seed=3), host_tail=True)
LIMITS = Limits(error=0.1, drop=0.02)


def test_what_is_found_keeps_to_the_limits() -> None:
    found = search(READING, SAMPLES, LIMITS, 12, adder_bits)
    assert found.steering.within(LIMITS)
    assert found.tried > 2


def test_half_of_the_limit_is_left_to_samples_that_nobody_has_seen() -> None:
    for tail in ("Softmax", ""):
        reading = read_model(mlp((8, 12, 4), seed=4, tail=tail), host_tail=True)
        found = search(reading, SAMPLES, LIMITS, 12, adder_bits)
        assert max(found.steering.error, found.steering.worst) <= LIMITS.error / 2
        unseen = np.random.default_rng(6).normal(size=(2000, 8)).astype(np.float32)
        wanted = real_outputs(reading, unseen)
        score = compare(wanted, found.network.predict(unseen), classes=bool(tail))
        assert max(score.error, score.worst) < LIMITS.error


def test_it_is_cheaper_than_one_width_for_all() -> None:
    found = search(READING, SAMPLES, LIMITS, 12, adder_bits)
    quantization = Quantization(READING, observe(READING, SAMPLES))
    assert adder_bits(found.network) < adder_bits(quantization.network(quantization.uniform(found.uniform)))


def test_the_report_is_on_samples_that_were_held_back() -> None:
    found = search(READING, SAMPLES, LIMITS, 12, adder_bits)
    assert found.held_back
    assert found.test.samples == 40
    held = SAMPLES[::4]
    wanted = real_outputs(READING, held)
    assert found.test == compare(wanted, found.network.predict(held), classes=True)


def test_few_samples_are_all_used_and_it_says_so() -> None:
    found = search(READING, SAMPLES[:10], LIMITS, 12, adder_bits)
    assert not found.held_back
    assert found.test.samples == 10


def test_the_same_samples_give_the_same_network() -> None:
    first, second = (search(READING, SAMPLES, LIMITS, 12, adder_bits) for _ in range(2))
    assert first.widths == second.widths


def test_stricter_limits_cost_more() -> None:
    loose, strict = (search(READING, SAMPLES, Limits(error, 0.5), 14, adder_bits) for error in (0.3, 0.02))
    assert adder_bits(loose.network) < adder_bits(strict.network)
    assert strict.test.error < loose.test.error


def test_too_few_bits_are_refused_with_the_numbers() -> None:
    with pytest.raises(TargetError, match=r"2 bits are too few: expected an error of at most 0\.005") as caught:
        search(READING, SAMPLES, Limits(0.01, 0.0), 2, adder_bits)
    assert caught.value.code == "fpga.precision"


def test_a_changed_class_is_counted() -> None:
    wanted = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    assert compare(wanted, wanted[::-1], classes=True).changed == 2
    assert compare(wanted, wanted[::-1], classes=False).changed is None


def test_the_worst_part_of_the_samples_is_seen() -> None:
    wanted = np.ones((64, 1))
    got = wanted.copy()
    got[::4] += 0.5
    score = compare(wanted, got, classes=False)
    assert score.worst == pytest.approx(0.5)
    assert score.error == pytest.approx(0.25)


def test_shares_that_sum_to_one_are_classes_and_a_single_value_is_none() -> None:
    assert holds_classes(READING, real_outputs(READING, SAMPLES))
    logits = read_model(mlp((8, 4), tail=""), host_tail=True)
    assert not holds_classes(logits, real_outputs(logits, SAMPLES))
