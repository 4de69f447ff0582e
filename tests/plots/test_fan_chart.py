from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colors, image
from matplotlib.collections import PolyCollection
from scipy.stats import norm

from imagine_cli import InputError, open_rollout
from imagine_cli.plots.fan_chart import COLOURS, fan_chart
from imagine_cli.plots.fan_data import (
    BANDS,
    Fan,
    choose_columns,
    choose_dimensions,
    column_names,
    read_fan,
)
from tests.helpers.rollout_files import numbers, write

Pixels = np.ndarray


def a_fan(size: int = 3, steps: int = 20, real: bool = True, particles: bool = True) -> Fan:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(steps + 1, size)).cumsum(0)
    sd = np.linspace(0.5, 4.0, steps + 1)[:, None] * np.ones(size)
    drawn = mean + sd * rng.normal(size=(6, steps + 1, size))
    return Fan(
        0,
        np.arange(steps + 1),
        mean,
        sd,
        drawn if particles else None,
        mean + 0.8 * sd if real else None,
    )


def panels(figure: Any) -> list[tuple[Any, Pixels]]:
    """Each visible axis with the pixels inside its frame, ``(h, w, 3)``."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    stream.seek(0)
    picture = image.imread(stream)[..., :3]
    figure.set_dpi(100)
    found = []
    for axis in figure.axes:
        if axis.get_visible():
            box = axis.get_window_extent()
            height = len(picture)
            rows = slice(height - int(box.y1) + 3, height - int(box.y0) - 3)
            found.append((axis, picture[rows, int(box.x0) + 3 : int(box.x1) - 3]))
    return found


def share(pixels: Pixels, colour: str) -> float:
    """The part of the pixels that have this colour."""
    return float((np.abs(pixels - colors.to_rgb(colour)).max(-1) < 0.02).mean())


def inked(pixels: Pixels) -> bool:
    """Whether every part of a panel's picture that should be there is."""
    return (
        share(pixels, COLOURS["95 % band"]) > 0.05
        and share(pixels, COLOURS["50 % band"]) > 0.02
        and share(pixels, COLOURS["mean"]) > 0.001
        and share(pixels, COLOURS["real"]) > 0.0005
    )


@pytest.mark.parametrize("size", [1, 3, 7, 17])
def test_no_panel_is_empty(size: int) -> None:
    names = [f"x{d}" for d in range(size)]
    drawn = panels(fan_chart([a_fan(size)], names, list(range(size)), "title"))
    assert len(drawn) == size
    assert all(inked(pixels) for _, pixels in drawn)
    assert sorted(axis.get_ylabel() for axis, _ in drawn) == sorted(names)


def test_a_panel_without_its_curves_would_be_noticed() -> None:
    figure = fan_chart([a_fan()], ["a", "b", "c"], [0, 1, 2], "title")
    for artist in (*figure.axes[1].lines, *figure.axes[1].collections):
        artist.remove()
    assert [inked(pixels) for _, pixels in panels(figure)] == [True, False, True]


def test_what_is_drawn_is_what_the_fan_says() -> None:
    fan = a_fan(2)
    figure = fan_chart([fan], ["a", "b"], [1], "title")
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_array_equal(lines["mean"].get_ydata(), fan.mean[:, 1])
    np.testing.assert_array_equal(lines["real"].get_ydata(), fan.real[:, 1])  # type: ignore[index]
    bands = [c for c in axis.collections if isinstance(c, PolyCollection)]
    for percent, band in zip((95, 50), bands, strict=True):
        corners = band.get_paths()[0].vertices
        for step in (0, 7, 20):
            heights = corners[corners[:, 0] == step, 1]
            low, high = norm(fan.mean[step, 1], fan.sd[step, 1]).interval(percent / 100)
            assert heights.min() == pytest.approx(low, rel=1e-12)
            assert heights.max() == pytest.approx(high, rel=1e-12)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95 % band", "50 % band", "particles", "mean", "real"]
    assert axis.get_xlabel() == "step"


def test_without_a_real_run_and_particles_the_legend_has_none() -> None:
    figure = fan_chart([a_fan(1, real=False, particles=False)], ["a"], [0], "title")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95 % band", "50 % band", "mean"]


def test_several_trajectories_are_columns() -> None:
    fans = [a_fan(2), a_fan(2)]
    figure = fan_chart(fans, ["a", "b"], [0, 1], "title")
    assert all(inked(pixels) for _, pixels in panels(figure))
    assert [axis.get_ylabel() for axis in figure.axes] == ["a", "", "b", ""]


def test_axes_of_a_dimension_are_the_same_over_trajectories() -> None:
    narrow = a_fan(2)
    fans = [narrow, replace(narrow, mean=10 * narrow.mean)]
    figure = fan_chart(fans, ["a", "b"], [0, 1], "title")
    limits = [axis.get_ylim() for axis in figure.axes]
    assert limits[0] == limits[1] != limits[2] == limits[3]
    for fan in fans:
        low, high = fan.band(95)
        assert limits[0][0] < low[:, 0].min()
        assert limits[0][1] > high[:, 0].max()


@pytest.mark.parametrize("size", [3, 7, 17])
def test_panels_are_read_line_by_line(size: int) -> None:
    names = [f"x{d}" for d in range(size)]
    figure = fan_chart([a_fan(size)], names, list(range(size)), "title")
    figure.draw_without_rendering()
    seen = [(axis.get_position(), axis) for axis in figure.axes if axis.get_visible()]
    read = sorted(seen, key=lambda pair: (-round(pair[0].y0, 3), pair[0].x0))
    assert [axis.get_ylabel() for _, axis in read] == names


def test_bounds_are_drawn_where_they_are_near() -> None:
    fan = replace(a_fan(3), low=np.array([-1.0, -np.inf, -1e6]), high=np.array([2.0, 5.0, 1e6]))
    figure = fan_chart([fan], ["a", "b", "c"], [0, 1, 2], "title")
    drawn = [
        [line.get_ydata()[0] for line in axis.lines if line.get_label() == "bound of the space"]
        for axis in figure.axes
    ]
    assert drawn == [[-1.0, 2.0], [5.0], []]
    for axis, lines in zip(figure.axes, drawn, strict=True):
        assert all(axis.get_ylim()[0] <= y <= axis.get_ylim()[1] for y in lines)
    assert figure.axes[2].get_ylim()[1] < 1e3
    alone = fan_chart([fan], ["a", "b", "c"], [2], "title")
    assert "bound of the space" not in [text.get_text() for text in alone.legends[0].get_texts()]


def test_action_and_reward_are_of_the_step_that_begins_there(tmp_path: Path) -> None:
    arrays = numbers(2, 4, 2, f=2)
    arrays.pop("action/var")
    arrays["observation/var"][:] = 0.0
    write(tmp_path / "a.h5", arrays)
    with open_rollout(tmp_path / "a.h5") as rollout:
        fan, names = read_fan(rollout, 1), column_names(rollout)
        assert choose_columns(rollout, ["reward", "a1"]) == [4, 3]
        figure = fan_chart([fan], names, choose_columns(rollout, []), "title")
    assert [axis.get_ylabel() for axis in figure.axes] == ["o0", "o1", "a0", "a1", "reward"]
    of = {axis.get_ylabel(): axis for axis in figure.axes}
    for name, values in (
        ("a1", arrays["action/mean"][1, :, 1]),
        ("reward", arrays["reward/mean"][1]),
    ):
        (line,) = [line for line in of[name].lines if line.get_label() == "mean"]
        assert line.get_drawstyle() == "steps-post"
        np.testing.assert_array_equal(line.get_xdata(), range(5))
        np.testing.assert_array_equal(line.get_ydata(), [*values, values[-1]])
    # Bands of what is uncertain alone, and in the legend what some panel has.
    assert [len(axis.collections) for axis in figure.axes] == [0, 0, 0, 0, 2]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95 % band", "50 % band", "mean"]


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2: what black-and-white print keeps of a colour."""
    rgb = np.array(colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_in_black_and_white_the_parts_still_differ() -> None:
    ordered = ["background", "95 % band", "50 % band", "mean"]
    levels = [luminance(COLOURS[name]) + 0.05 for name in ordered]
    contrast = [lighter / darker for lighter, darker in pairwise(levels)]
    assert min(contrast) > 1.3
    assert levels[2] / levels[3] > 3  # the line on what is behind it
    assert (levels[1]) / (luminance(COLOURS["real"]) + 0.05) > 7


def test_bands_are_those_of_a_gaussian() -> None:
    for percent, half in BANDS.items():
        assert half == pytest.approx(norm.ppf(0.5 + percent / 200), rel=1e-14)


@pytest.mark.parametrize("odd", ["nan", "inf", "negative"])
def test_odd_numbers_are_left_out_and_drawn_around(tmp_path: Path, odd: str) -> None:
    arrays = numbers(2, 12, 2)
    if odd == "negative":
        arrays["observation/var"][1, 5, 0, 0] = -1.0
    else:
        arrays["observation/mean"][1, 5, 0] = float(odd)
    write(tmp_path / "odd.h5", arrays)
    with open_rollout(tmp_path / "odd.h5") as rollout:
        fan = read_fan(rollout, 1)
    low, _ = fan.band(95)
    assert np.isnan(low[5, 0])
    assert np.isnan(low).sum() == 1
    for _, pixels in panels(fan_chart([fan], ["a", "b"], [0, 1], "title")):
        assert share(pixels, COLOURS["mean"]) > 0.001


def test_a_panel_of_nothing_but_nan_says_so() -> None:
    fan = a_fan(1, real=False, particles=False)
    figure = fan_chart([Fan(0, fan.steps, fan.mean * np.nan, fan.sd, None, None)], ["a"], [0], "t")
    assert figure.axes[0].texts[0].get_text() == "no finite number"


def test_names_and_titles_are_letters_not_formulas() -> None:
    figure = fan_chart([a_fan(1)], ["$x^$\x1b"], [0], "50 $ and\nmore " + "words " * 40)
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    assert figure.axes[0].get_ylabel() == r"\$x^\$\x1b"


def test_the_fan_of_a_file(tmp_path: Path) -> None:
    arrays = numbers(3, 150, 2, p=60)
    write(tmp_path / "a.h5", arrays)
    with open_rollout(tmp_path / "a.h5") as rollout:
        fan = read_fan(rollout, 2)
        np.testing.assert_array_equal(fan.mean[:, :2], arrays["observation/mean"][2])
        var = np.diagonal(arrays["observation/var"][2], axis1=-2, axis2=-1)
        np.testing.assert_allclose(fan.sd[:, :2] ** 2, var, rtol=1e-14)
        assert fan.particles is not None
        np.testing.assert_array_equal(fan.particles, arrays["particles/observation"][2, :50])
        few = read_fan(rollout, 1, points=7)
        assert few.steps.tolist() == [0, 25, 50, 75, 100, 125, 150]
        np.testing.assert_array_equal(few.mean[:, :2], arrays["observation/mean"][1, ::25])
        assert choose_dimensions([f"o{d}" for d in range(30)], [], "a file") == list(range(24))
        assert choose_dimensions(rollout.observation_names, ["o1", "0", "1"], rollout.path) == [
            1,
            0,
        ]
        with pytest.raises(InputError, match="no dimension 'z'; it has o0, o1"):
            choose_dimensions(rollout.observation_names, ["z"], rollout.path)
        with pytest.raises(InputError, match="no trajectory 3"):
            read_fan(rollout, 3)


def test_real_runs_that_do_not_belong_to_it(tmp_path: Path) -> None:
    arrays = numbers(2, 8, 2)
    write(tmp_path / "a.h5", arrays)
    moved = {**arrays, "observation/mean": arrays["observation/mean"] + 1.0}
    write(tmp_path / "moved.h5", moved)
    write(tmp_path / "wide.h5", numbers(2, 8, 3))
    write(tmp_path / "short.h5", {name: values[:, :5] for name, values in arrays.items()
                                  if name.startswith("observation")}
          | {"action/mean": arrays["action/mean"][:, :4]})  # fmt: skip
    with open_rollout(tmp_path / "a.h5") as rollout:
        for name, message in (("moved", "they don't belong together"), ("wide", "has D = 3")):
            with (
                open_rollout(tmp_path / f"{name}.h5") as real,
                pytest.raises(InputError, match=message),
            ):
                read_fan(rollout, 0, real)
        with open_rollout(tmp_path / "short.h5") as real:
            fan = read_fan(rollout, 1, real)
        assert fan.real is not None
        np.testing.assert_array_equal(fan.real[:5, :2], arrays["observation/mean"][1, :5])
        assert np.isnan(fan.real[5:]).all()
