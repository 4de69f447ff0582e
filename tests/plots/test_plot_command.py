from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from imagine_cli import InputError, evaluate_model, open_rollout, plot_evaluation, plot_rollout
from imagine_cli.cli import main
from imagine_cli.plots.calibration_chart import calibration_chart
from imagine_cli.plots.calibration_data import panels_of, select
from imagine_cli.plots.fan_data import BANDS
from imagine_cli.plots.terminal_chart import round_ticks, terminal_chart
from tests.helpers.gallery import GALLERY, ROOT
from tests.helpers.linear_world import ENV_ID, linear_model
from tests.helpers.rollout_files import numbers, write
from tests.plots.test_fan_chart import a_fan


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An imagined rollout and the real one it belongs to."""
    folder = tmp_path_factory.mktemp("files")
    imagined, real = folder / "imagined.h5", folder / "real.h5"
    evaluate_model(
        linear_model(), ENV_ID, steps=12, trajectories=3, record=real, imagined=imagined,
        env_kwargs={"limit": 1.0},
    )  # fmt: skip
    return imagined, real


def command(capsys: Any, *words: Any) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_default_is_a_png_of_the_rollouts_name(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "a.h5", numbers(2, 9))
    target = tmp_path / "a.png"
    assert command(capsys, "plot", tmp_path / "a.h5") == (0, f"{target}\n", "")
    assert image.imread(target).std() > 0.05
    status, _, said = command(capsys, "plot", tmp_path / "a.h5")
    assert status == 2
    assert "give --force" in said
    assert command(capsys, "plot", tmp_path / "a.h5", "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "a.png"]


def test_an_svg_has_names_and_curves_as_text_and_paths(
    files: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "fan.svg"
    words = ("plot", files[0], "--real", files[1], "-o", target, "--trajectory", 1)
    assert command(capsys, *words)[0] == 0
    root = ElementTree.parse(target).getroot()
    texts = {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("}text")}
    wanted = {"x0", "x1", "step", "mean", "50 % band", "95 % band", "real"}
    assert wanted <= texts
    assert any("LinearWorld-v0: trajectory 1" in text for text in texts)
    again = tmp_path / "again.svg"
    plot_rollout(files[0], again, real=files[1], trajectories=[1])
    assert again.read_bytes() == target.read_bytes()


def page_parts(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """What plotly is given, and the page without plotly's own program."""
    page = path.read_text()
    call = page.index("[", page.rindex("Plotly.newPlot("))
    traces, end = json.JSONDecoder().raw_decode(page[call:])
    begin = page.index("{", call + end)
    layout, _ = json.JSONDecoder().raw_decode(page[begin:])
    return traces, layout, page.replace(get_plotlyjs(), "")


def test_a_page_stands_alone_and_has_the_numbers(
    files: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "fan.html"
    words = ("plot", files[0], "--real", files[1], "-o", target, "--trajectory", 1)
    status, _, said = command(capsys, *words)
    assert status == 0
    assert re.fullmatch(rf"imagine: {target} is [\d.]+ MB, .* nothing from the network\n", said)
    traces, layout, rest = page_parts(target)
    assert rest.startswith("<!DOCTYPE html>")
    assert f"<title>{ENV_ID}: trajectory 1 of an imagined rollout</title>" in rest
    assert not re.search(r"src=|<link|@import|https?:", rest)
    Figure({"data": [{"type": "scatter", **trace} for trace in traces], "layout": layout})
    with open_rollout(files[0]) as imagined, open_rollout(files[1]) as real:
        mean, sd, seen = imagined.mean(1), np.sqrt(imagined.var(1)[:, 0, 0]), real.mean(1)
    first = {t["name"]: t for t in traces if t["xaxis"] == "x" and "fill" not in t}
    for name, values in (
        ("mean", mean[:, 0]), ("real", seen[:, 0]), ("95 % band", mean[:, 0] + BANDS[95] * sd),
    ):  # fmt: skip
        assert first[name]["x"] == list(range(13))
        found = [np.nan if y is None else y for y in first[name]["y"]]
        np.testing.assert_allclose(found, values, rtol=1e-12)
    assert layout["yaxis"]["title"]["text"] == "x0"
    shown = [trace["name"] for trace in traces if trace["showlegend"]]
    assert len(shown) == len(set(shown))
    assert set(shown) <= {"95 % band", "50 % band", "mean", "real", "bound of the space"}


def test_a_page_of_an_evaluation_has_what_its_picture_has(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    found = evaluate_model(linear_model(), real=files[1], env_kwargs={"limit": 1.0})
    plot_evaluation(found, tmp_path / "page.html", dimensions=["x0"])
    traces, layout, _ = page_parts(tmp_path / "page.html")
    Figure({"data": [{"type": "scatter", **trace} for trace in traces], "layout": layout})
    document = found.as_dict()
    drawn = calibration_chart(
        panels_of(document, select(document, ()).curves, ["x0"]), "title"
    )  # fmt: skip
    for number, axis in enumerate(drawn.axes, 1):
        here = [t for t in traces if t["xaxis"] == f"x{number if number > 1 else ''}"]
        lines = [t for t in here if "fill" not in t]
        assert len(lines) == len(axis.lines)
        for line in axis.lines:
            assert line.get_xdata()[-1] == 1 or line.get_ydata().tolist() in [t["y"] for t in lines]
        edges = [t for t in here if t.get("fill") == "none"]
        stairs = [patch for patch in axis.patches if not patch.get_fill()]
        assert [t["y"] for t in edges] == [p.get_path().vertices[:, 1].tolist() for p in stairs]


def test_names_in_a_page_are_letters(tmp_path: Path) -> None:
    names = ["<b>$x</b>", "</script>", "a"]
    write(tmp_path / "a.h5", numbers(1, 3), header={"observation_names": names})
    plot_rollout(tmp_path / "a.h5", tmp_path / "a.html")
    _, layout, rest = page_parts(tmp_path / "a.html")
    assert layout["yaxis"]["title"]["text"] == "&lt;b&gt;$x&lt;/b&gt;"
    assert rest.count("</script>") == rest.count("<script")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-1.1, 1.0, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (0, 50, ["0", "10", "20", "30", "40", "50"]),
        (-6.9, 7.2, ["-5", "0", "5"]),
        (2.0e7, 6.1e7, ["2e+07", "3e+07", "4e+07", "5e+07", "6e+07"]),
        (0.0012, 0.0017, ["0.0012", "0.0013", "0.0014", "0.0015", "0.0016", "0.0017"]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[str]) -> None:
    places, words = round_ticks(low, high, 5)
    assert words == ticks
    np.testing.assert_allclose(places, [float(word) for word in words], rtol=1e-12, atol=1e-12)


def test_a_pdf(files: tuple[Path, Path], tmp_path: Path) -> None:
    plot_rollout(files[0], tmp_path / "fan.pdf")
    assert (tmp_path / "fan.pdf").read_bytes().startswith(b"%PDF-")


def test_a_real_run_is_drawn_by_itself_too(
    files: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "real.svg"
    assert command(capsys, "plot", files[1], "-o", target)[0] == 0
    assert "trajectory 0 of a real run" in target.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "fan.jpg"), "must end in .png, .svg, .pdf, .html"),
        (("--trajectory", 9), "has no trajectory 9"),
        (("--dimension", "z"), "has no dimension 'z'"),
        (("--real", "nothing.h5"), "no file nothing.h5"),
        ((*("--trajectory", 0) * 5,), "1 to 4 trajectories"),
    ],
)
def test_what_can_not_be_drawn(
    files: tuple[Path, Path], tmp_path: Path, capsys: Any, monkeypatch: Any, words: Any,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if "-o" not in words:
        words = (*words, "-o", "fan.png")
    status, _, said = command(capsys, "plot", files[0], *words)
    assert status == 2
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_dimensions_that_have_no_room_are_spoken_of(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "a.h5", numbers(1, 3, 30))
    _, _, said = command(capsys, "plot", tmp_path / "a.h5", "-o", tmp_path / "a.svg")
    assert "6 dimensions are left out" in said
    words = ("plot", tmp_path / "a.h5", "-f", "-o", tmp_path / "a.svg", "--dimension", "o29")
    assert command(capsys, *words)[2] == ""
    assert ">o29<" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("library", "extra", "words"),
    [
        ("matplotlib", "plot", ["plot", "-o", "fan.png"]),
        ("plotly", "plotly", ["plot", "-o", "fan.html"]),
        ("plotext", "plot", ["inspect", "--plot"]),
    ],
)
def test_without_the_extra_one_sentence_with_the_pip_line(
    files: tuple[Path, Path], tmp_path: Path, capsys: Any, monkeypatch: Any, library: str,
    extra: str, words: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == library:
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    status, _, said = command(capsys, *words, files[0])
    assert status == 2
    assert said == (
        f"imagine: error: {library} is not installed; run: pip install 'imagine-cli[{extra}]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_inspect_draws_in_the_terminal(
    files: tuple[Path, Path], capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    status, said, _ = command(capsys, "inspect", files[0], "--plot", "--trajectory", 2)
    assert status == 0
    assert "trajectory 2 of 3" in said
    lines = said.splitlines()[1:]
    assert max(map(len, lines)) <= 72
    assert "\x1b" not in said
    assert [line.strip() for line in lines if line.strip() in ("x0", "x1")] == ["x0", "x1"]
    assert command(capsys, "inspect", files[0], "--plot", "--json")[0] == 2
    assert (
        "has no trajectory 7"
        in command(capsys, "inspect", files[0], "--plot", "--trajectory", 7)[2]
    )


@pytest.mark.parametrize("unicode", [True, False])
def test_the_terminal_chart_follows_the_mean_between_its_bands(unicode: bool) -> None:
    steps = np.arange(61)
    fan = a_fan(1, real=False, particles=False)
    fan = type(fan)(0, steps, steps[:, None] * 1.0, np.full((61, 1), 10.0), None, None)
    drawn = terminal_chart(fan, 0, "né", width=80, colour=False, unicode=unicode)
    assert drawn.isascii() is not unicode
    rows = [re.fullmatch(r"[^│┤|+]*[│┤|+](.*)[│|]", line) for line in drawn.splitlines()]
    legend = re.compile(r"\S\S (95 % between|50 % between|mean)")
    inside = [legend.sub(lambda m: " " * len(m[0]), row[1]) for row in rows if row]
    marks = [
        [k for k, letter in enumerate(row) if letter == "*" or "\u2800" < letter <= "\u28ff"]
        for row in inside
    ]
    centres = [float(np.mean(places)) for places in marks if places]
    assert len(centres) >= 5
    assert centres == sorted(centres, reverse=True)  # a line that rises to the right
    for row, places in zip(inside, marks, strict=True):
        outer = [k for k, letter in enumerate(row) if letter in ("·" if unicode else ".")]
        if places and outer:
            assert min(outer) < min(places) or max(outer) > max(places)


def test_colour_only_where_it_is_wanted() -> None:
    fan = a_fan(1, real=False, particles=False)
    coloured = terminal_chart(fan, 0, "x", width=60, colour=True, unicode=True)
    assert "\x1b[" in coloured
    assert "\x1b[" not in terminal_chart(fan, 0, "x", width=60, colour=False, unicode=True)


def test_the_gallery_is_small_and_not_in_the_wheel() -> None:
    pictures = [*GALLERY.glob("*.png")]
    assert len(pictures) == 4
    assert max(picture.stat().st_size for picture in pictures) < 60_000
    page = (ROOT / "imagine_cli" / "plots" / "README.md").read_text(encoding="utf-8")
    assert all(f"(../../tests/plots/gallery/{picture.name})" in page for picture in pictures)


def test_too_many_trajectories_in_python(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 4"):
        plot_rollout(files[0], tmp_path / "a.png", trajectories=[])
