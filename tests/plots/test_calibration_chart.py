"""Reliability diagrams and PIT histograms: the numbers, the ink, and who can read them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import colors
from scipy import stats

from imagine_cli import (
    InputError,
    evaluate_model,
    open_rollout,
    plot_evaluation,
    save_world_model,
)
from imagine_cli.cli import main
from imagine_cli.cli.inspect_document import as_json
from imagine_cli.environments import describe, make_env
from imagine_cli.evaluation.report import Evaluation
from imagine_cli.plots.calibration_chart import BAND, STYLES, binomial_interval, calibration_chart
from imagine_cli.plots.calibration_data import Panel, panels_of, select
from imagine_cli.propagation.particles import Particles
from imagine_cli.world_models import LinearGaussianWorldModel
from tests.helpers.linear_world import ENV_ID, A, B, Q, linear_model
from tests.helpers.worlds import small_gp
from tests.plots.test_fan_chart import luminance, panels, share

MANY, STEPS = 400, 6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A real run and what a model whose variances are half of the true ones imagines of it."""
    folder = tmp_path_factory.mktemp("files")
    real, imagined = folder / "real.h5", folder / "imagined.h5"
    evaluate_model(
        linear_model(0.5), ENV_ID, steps=STEPS, trajectories=MANY, record=real, imagined=imagined
    )
    return real, imagined


@pytest.fixture(scope="module")
def three(files: tuple[Path, Path]) -> Evaluation:
    return evaluate_model([linear_model(f) for f in (1.0, 0.5, 2.0)], real=files[0])


@pytest.fixture(scope="module")
def one(files: tuple[Path, Path]) -> Evaluation:
    return evaluate_model(linear_model(0.5), real=files[0])


def drawn(found: Evaluation, *horizons: int) -> tuple[list[Panel], Any]:
    document = found.as_dict()
    chosen = panels_of(document, select(document, horizons).curves, found.observation_names)
    return chosen, calibration_chart(chosen, "title")


def test_curves_are_the_coverage_of_scipys_intervals(
    one: Evaluation, files: tuple[Path, Path]
) -> None:
    with open_rollout(files[0]) as real, open_rollout(files[1]) as imagined:
        y, mean, var = real.mean(step=4), imagined.mean(step=4), imagined.var(step=4)
    _, figure = drawn(one, 4)
    sd = np.sqrt(np.diagonal(var, axis1=-2, axis2=-1))
    distance = [(e @ np.linalg.solve(v, e)) for e, v in zip(y - mean, var, strict=True)]
    for row in range(3):
        (line,) = [a for a in figure.axes[2 * row].lines if a.get_label() == "step 4"]
        nominal, observed = line.get_data()
        np.testing.assert_allclose(nominal, [*range(0, 100, 10), 95, 100], atol=1e-12)
        for percent, covered in zip(nominal[1:-1], observed[1:-1], strict=True):
            if row == 0:
                inside = np.array(distance) <= stats.chi2(2).ppf(percent / 100)
            else:
                normal = stats.norm(mean[:, row - 1], sd[:, row - 1])
                low, high = normal.interval(percent / 100)
                inside = (low <= y[:, row - 1]) & (y[:, row - 1] <= high)
            assert covered == pytest.approx(100 * inside.mean(), abs=1e-9)
        assert (observed[0], observed[-1]) == (0, 100)


def test_histograms_are_numpys_of_the_cumulative_probability(
    one: Evaluation, files: tuple[Path, Path]
) -> None:
    with open_rollout(files[0]) as real, open_rollout(files[1]) as imagined:
        y, mean, var = real.mean(step=6), imagined.mean(step=6), imagined.var(step=6)
    chosen, figure = drawn(one, 6)
    for d in range(2):
        pit = stats.norm(mean[:, d], np.sqrt(var[:, d, d])).cdf(y[:, d])
        density = np.histogram(pit, 10, (0, 1), density=True)[0]
        axis = figure.axes[2 * (d + 1) + 1]
        (points,) = [line for line in axis.lines if len(line.get_xdata()) == 10]
        np.testing.assert_allclose(points.get_ydata(), density, rtol=1e-12)
        assert chosen[d + 1].curves[0].pit.sum() == MANY


def test_as_few_particles_as_dimensions_have_no_joint_curve() -> None:
    model = LinearGaussianWorldModel.from_parameters(A, B, np.zeros(2), Q)
    with pytest.warns(UserWarning, match="no joint density"):
        found = evaluate_model(model, ENV_ID, propagation=Particles(2), steps=2, trajectories=3)
    assert [panel.name for panel in drawn(found)[0]] == found.observation_names


def test_a_right_model_stays_in_the_band_and_wrong_ones_leave_it(three: Evaluation) -> None:
    chosen, _ = drawn(three)
    spreads = {"TensorDictModule": 0, "TensorDictModule (2)": -1, "TensorDictModule (3)": 1}
    for panel in chosen:
        for curve in panel.curves:
            inner = slice(1, -1)
            low, high = binomial_interval(curve.count, curve.nominal[inner])
            outside = (curve.observed[inner] < low) | (curve.observed[inner] > high)
            if spreads[curve.label] == 0:
                # Curves wander: points of one curve leave their 95 % intervals together.
                assert outside.mean() <= 0.5
            else:
                assert outside.mean() >= 0.8
                assert np.sign(curve.observed - curve.nominal)[2:-2].mean() == spreads[curve.label]


def test_the_band_is_scipys_binomial() -> None:
    share_of = np.linspace(0, 1, 41)
    for count in (1, 7, 60, 3000):
        low, high = binomial_interval(count, share_of)
        for wanted, ends in ((0.025, low), (0.975, high)):
            found = stats.binom.ppf(wanted, count, share_of) / count
            np.testing.assert_allclose(ends, found, atol=1e-12)


def inked(pixels: np.ndarray, curves: int) -> bool:
    """Whether the band and every curve are there."""
    return share(pixels, BAND) > 0.02 and all(
        share(pixels, style["color"]) > 0.0008 for style in STYLES[:curves]
    )


def test_no_axis_is_empty_and_one_would_be_noticed(three: Evaluation, one: Evaluation) -> None:
    for found, curves in ((three, 3), (one, 3)):
        _, figure = drawn(found)
        axes = panels(figure)
        assert len(axes) == 6
        assert all(inked(pixels, curves) for _, pixels in axes)
        for artist in (*figure.axes[3].lines, *figure.axes[3].patches):
            artist.remove()
        assert [inked(pixels, curves) for _, pixels in panels(figure)] == [k != 3 for k in range(6)]


def test_every_axis_says_what_it_is_of(three: Evaluation) -> None:
    _, figure = drawn(three)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels[::2] == [f"{n}\nobserved coverage [%]" for n in ("all together", "x0", "x1")]
    assert labels[1::2] == ["density"] * 3
    assert figure.axes[4].get_xlabel() == "nominal coverage [%]"
    assert figure.axes[5].get_xlabel() == "probability integral transform"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["95 % by chance, 400 real values", *[m.label for m in three.models]]


def test_curves_differ_without_colour_and_stand_out_from_the_paper() -> None:
    for a, b in combinations(STYLES, 2):
        assert a["ls"] != b["ls"]
        assert a["marker"] != b["marker"]
        assert colors.to_rgb(a["color"]) != colors.to_rgb(b["color"])
    for style in STYLES:
        for paper, contrast in (("#ffffff", 3.0), (BAND, 2.3)):
            ratio = (luminance(paper) + 0.05) / (luminance(style["color"]) + 0.05)
            assert ratio > contrast


def command(capsys: Any, *words: Any) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def document(one: Evaluation, tmp_path: Path) -> Path:
    path = tmp_path / "evaluation.json"
    path.write_text(as_json(one.as_dict()))
    return path


def test_the_json_draws_the_same_picture_as_the_evaluation(
    document: Path, one: Evaluation, tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "a.svg"
    assert command(capsys, "plot", document, "-o", target) == (0, f"{target}\n", "")
    plot_evaluation(one, tmp_path / "b.svg")
    assert target.read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ElementTree.parse(target).getroot()
    texts = {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("}text")}
    assert {"step 1", "step 3", "step 6", "x0", "all together", "PIT histogram"} <= texts
    assert f"{ENV_ID}: intervals against 400 real trajectories" in texts
    plot_evaluation(document, tmp_path / "c.svg", dimensions=["1"], horizons=[2])
    said = (tmp_path / "c.svg").read_text()
    assert ">x1<" in said
    assert ">x0<" not in said
    assert ">step 2<" in said
    assert command(capsys, "plot", document)[1] == f"{document.with_suffix('.png')}\n"


def test_evaluate_draws_it_too(files: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    save_world_model(small_gp(2, 1), tmp_path / "wm.pt", env=describe(make_env(ENV_ID)))
    words = ("evaluate", "--env", ENV_ID, "--model", tmp_path / "wm.pt", "-n", 9, "--steps", 3)
    target = tmp_path / "c.svg"
    assert command(capsys, *words, "--plot", target, "--json", "-q")[0] == 0
    assert "9 real trajectories" in target.read_text()
    status, _, said = command(capsys, *words, "--plot", target)
    assert status == 2
    assert "exists; give --force" in said
    status, _, said = command(capsys, *words, "--plot", tmp_path / "c.gif")
    assert status == 2
    assert "must end in .png" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--horizon", 7), "no real trajectory was evaluated at step 7; there is 1 to 6"),
        (("--dimension", "z"), "has no dimension 'z'; it has x0, x1"),
        (("--real", "x.h5"), "--real says nothing about an evaluation"),
        (("--trajectory", 0), "--trajectory says nothing about an evaluation"),
        (tuple(w for h in range(1, 6) for w in ("--horizon", h)), "up to 4 --horizon"),
    ],
)
def test_what_an_evaluation_has_not(document: Path, capsys: Any, words: Any, message: str) -> None:
    status, out, said = command(capsys, "plot", document, *words)
    assert (status, out) == (2, "")
    assert message in said
    assert [path.name for path in document.parent.iterdir()] == ["evaluation.json"]


def test_several_models_are_drawn_at_one_horizon(three: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one --horizon is drawn at a time"):
        plot_evaluation(three, tmp_path / "a.svg", horizons=[1, 2])
    assert plot_evaluation(three, tmp_path / "a.svg", horizons=[2]) == 0
    assert "step 2, policy random" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read as JSON"),
        ("{" * 100_000, "can't be read as JSON"),
        ('{"kind": "rollout"}', "is not what imagine evaluate --json prints"),
        ('{"kind": "evaluation"}', "not what this version's"),
        ('{"kind": "evaluation", "models": [], "observation_names": []}', "not what this version"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, capsys: Any, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    status, _, said = command(capsys, "plot", path)
    assert status == 2
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize("broken", ["count", "pit", "coverage95", "dimensions"])
def test_a_document_with_a_hole_is_refused(document: Path, capsys: Any, broken: str) -> None:
    content = json.loads(document.read_text())
    model = content["models"][0]
    for place in (model, *model.get("dimensions", {}).values()):
        if broken in place:
            place[broken] = None if broken != "pit" else [[-1] * 20] * STEPS
    document.write_text(json.dumps(content))
    status, _, said = command(capsys, "plot", document)
    assert status == 2
    assert "is not what this version's imagine evaluate --json prints" in said
