"""Sparklines and numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagine_cli.cli.tables import (
    ASCII,
    BLOCKS,
    bytes_text,
    fixed,
    plural,
    significant,
    sparkline,
    times,
)
from imagine_cli.printable import printable

FINITE = st.floats(-1e300, 1e300)
NUMBERS = FINITE | st.sampled_from([math.nan, math.inf, -math.inf])


def test_a_ramp_climbs_every_level() -> None:
    assert sparkline(range(8)) == BLOCKS
    assert sparkline([7, 0, 3.5], levels=ASCII) == "@_+"
    assert sparkline([1, 2], low=0) == "▅█"


def test_flat_and_missing() -> None:
    assert sparkline([]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([0.1, 0.1], low=0.0) == "██"
    assert sparkline([math.nan, 0.0, 1.0, math.inf]) == "?▁█?"
    assert sparkline([math.nan]) == "?"


@given(st.lists(NUMBERS, max_size=30))
def test_one_character_a_value_in_order(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    levels = [(v, BLOCKS.index(c)) for v, c in zip(values, line, strict=True) if math.isfinite(v)]
    assert [level for _, level in sorted(levels)] == sorted(level for _, level in levels)
    assert line.count("?") == len(values) - len(levels)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (0.0123456, "0.0123"),
        (-131.4, "-131"),
        (9.999, "10.0"),
        (99999.0, "99999"),
        (1e6, "1.00e+06"),
        (1.5e-7, "1.50e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


@given(FINITE, st.integers(2, 6))
def test_significant_digits_are_kept(value: float, digits: int) -> None:
    text = significant(value, digits)
    assert len(text) <= digits + 8
    assert float(text) == pytest.approx(value, rel=0.501 * 10 ** (1 - digits), abs=1e-322)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.5, -12.25, 3.0], ["0.50", "-12.25", "3.00"]),
        ([0.0, -0.00001, 1.0], ["0.000", "0.000", "1.000"]),
        ([0.0, 0.0], ["0.000", "0.000"]),
        ([1e-9, 2.0e-8], ["1.00e-09", "2.00e-08"]),
        ([123456.0, 1.0], ["123456", "1"]),
        ([math.nan, 1.5], ["nan", "1.500"]),
        ([], []),
    ],
)
def test_fixed(values: list[float], texts: list[str]) -> None:
    assert fixed(values) == texts


@given(st.lists(NUMBERS, min_size=1, max_size=6))
def test_fixed_is_within_a_digit_of_the_largest(values: list[float]) -> None:
    finite = [abs(value) for value in values if math.isfinite(value)]
    for value, text in zip(values, fixed(values), strict=True):
        if math.isfinite(value):
            assert float(text) == pytest.approx(value, rel=6e-3, abs=5.01e-4 * max(finite))
        else:
            assert text == str(value)


def test_words() -> None:
    assert [plural(n, "trajectory") for n in (1, 2)] == ["1 trajectory", "2 trajectories"]
    assert plural(0, "step") == "0 steps"
    assert [times(n) for n in (1, 2)] == ["once", "2 times"]
    assert [bytes_text(n) for n in (999, 1500, 2_500_000)] == ["999 B", "1.50 kB", "2.50 MB"]
    assert bytes_text(12_000_000_000) == "12.0 GB"


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2Jb\n\u202ec") == "a\\x1b[2Jb\\n\\u202ec"
