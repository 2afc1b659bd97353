from __future__ import annotations

import pytest

from packager.quantities import QuantityError, parse_limit, quantity_text


@pytest.mark.parametrize(
    ("written", "unit", "value"),
    [
        ("1%", "ratio", 0.01),
        (0.02, "ratio", 0.02),
        ("1e-3", "ratio", 0.001),
        ("500 ppm", "ratio", 0.0005),
        ("2%", "share", 0.02),
        (0.99, "share", 0.99),
        ("100%", "share", 1),
        (2, "ratio", 2),
        ("64 KB", "bytes", 64_000),
        ("64 KiB", "bytes", 65_536),
        ("1.5MB", "bytes", 1_500_000),
        (4096, "bytes", 4096),
        ("5 ms", "ms", 5),
        ("2 s", "ms", 2000),
        ("250us", "ms", 0.25),
    ],
)
def test_a_limit_is_read_as_people_write_it(written: str | float, unit: str, value: float) -> None:
    assert parse_limit(written, unit).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("5", "ms"),
        ("1 %%", "ratio"),
        ("-1 KB", "bytes"),
        ("5 ms", "bytes"),
        ("", "ratio"),
        ("1e999", "ratio"),
        ("-1%", "share"),
        (-0.01, "share"),
    ],
)
def test_what_is_no_quantity_of_that_unit_is_refused(written: str, unit: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_limit(written, unit)


@pytest.mark.parametrize(
    ("written", "hint"), [(2, "write '2%'"), (1, "write '1%'"), ("1.5", "write '1.5%'"), ("200%", "")]
)
def test_more_than_the_whole_is_no_share_and_the_percentage_is_suggested(written: str | float, hint: str) -> None:
    with pytest.raises(QuantityError, match="expected at most '100%'") as caught:
        parse_limit(written, "share")
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0125, "ratio", "1.25%"),
        (-0.01, "ratio", "-1%"),
        (0.0, "ratio", "0%"),
        (4.5e-7, "ratio", "4.5e-07"),
        (10_910, "bytes", "10.91 KB"),
        (7.0, "ms", "7 ms"),
    ],
)
def test_a_value_is_shown_as_people_read_it(value: float, unit: str, text: str) -> None:
    assert quantity_text(value, unit) == text
