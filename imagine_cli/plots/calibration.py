"""Reliability diagrams of an evaluation, as one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.errors import InputError
from imagine_cli.plots.calibration_chart import calibration_chart
from imagine_cli.plots.calibration_data import Selection, panels_of, read_evaluation, select
from imagine_cli.plots.fan_data import choose_dimensions
from imagine_cli.plots.picture import check_picture, save_picture

if TYPE_CHECKING:
    from imagine_cli.evaluation.report import Evaluation

__all__ = ["plot_evaluation"]


def plot_evaluation(
    evaluation: Evaluation | str | Path,
    output: str | Path,
    *,
    horizons: Sequence[int] = (),
    dimensions: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Draw how honest the intervals are: nominal against observed coverage, and PIT histograms.

    Args:
        evaluation: what :func:`~imagine_cli.evaluate_model` found, or a file that
            ``imagine evaluate --json`` printed.
        output: a .png, .svg, .pdf or .html file; it appears when it is complete.
        horizons: of one model up to 4; the first, the middle and the last step where none are
            given. Of several models one, the last.
        dimensions: by name or number; all (at most 24) where none are given.
        overwrite: replace a file that is there.

    Returns:
        How many dimensions and models were left out for want of room.

    Raises:
        InputError: files or arguments that can't be used, or matplotlib is missing.
    """
    output = Path(output)
    check_picture(output, overwrite)
    document: dict[str, Any]
    if isinstance(evaluation, str | Path):
        document, source = read_evaluation(evaluation), str(evaluation)
    else:
        document, source = evaluation.as_dict(), "the evaluation"
    try:
        names = [str(name) for name in document["observation_names"]]
        numbers = choose_dimensions(names, dimensions, source)
        chosen = [names[k] for k in numbers]
        selection = select(document, horizons)
        panels = panels_of(document, selection.curves, chosen)
        title = _title(document, selection)
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is not what this version's imagine evaluate --json prints: "
            f"{type(error).__name__} {error}"
        ) from error
    save_picture(calibration_chart(panels, title), output, title)
    return selection.left_out + (0 if dimensions else len(names) - len(chosen))


def _title(document: dict[str, Any], selection: Selection) -> str:
    """What it is, in two lines."""
    models = document["models"]
    about = f"{document['env_id']}: intervals against {document['trajectories']} real trajectories"
    if len(models) == 1:
        return f"{about}\n{models[0]['name']}, {models[0]['propagation']}"
    return f"{about}\nstep {selection.curves[0][2]}, policy {document['policy']}"
