"""``imagine plot``, of a rollout and of an evaluation, as one call each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagine_cli.errors import InputError
from imagine_cli.observation_names import labelled
from imagine_cli.plots.calibration_chart import calibration_chart
from imagine_cli.plots.calibration_data import Selection, panels_of, read_evaluation, select
from imagine_cli.plots.fan_chart import fan_chart
from imagine_cli.plots.fan_data import (
    Fan,
    choose_columns,
    choose_dimensions,
    column_names,
    read_fan,
)
from imagine_cli.plots.picture import check_picture, own_style, save_picture
from imagine_cli.printable import printable
from imagine_cli.recording import Rollout, open_rollout

if TYPE_CHECKING:
    from imagine_cli.evaluation.report import Evaluation

_MOST_TRAJECTORIES = 4


@own_style()
def plot_rollout(
    rollout: str | Path,
    output: str | Path,
    *,
    real: str | Path | None = None,
    trajectories: Sequence[int] = (0,),
    dimensions: Sequence[str] = (),
    overwrite: bool = False,
) -> int:
    """Draw a fan chart: mean, 50 and 95 % bands, particles where kept, the real run where given.

    Below the observation are the action and, where there is one, the reward of each step. Bounds of
    the observation space are drawn where they are less than half a panel away.

    Args:
        rollout: a rollout file.
        output: a .png, .svg, .pdf or .html file; it appears when it is complete.
        real: a rollout file whose means go over the fans: the same initial states, as
            ``imagine evaluate --record`` writes it.
        trajectories: up to 4, a column each.
        dimensions: by name or number, of the action too, or "reward"; at most 24 of the
            observation, 6 of the action and the reward where none are given.
        overwrite: replace a file that is there.

    Returns:
        How many dimensions were left out for lack of space.

    Raises:
        InputError: files or arguments that can't be used, or matplotlib is missing.
    """
    output = Path(output)
    check_picture(output, overwrite)
    if not 1 <= len(trajectories) <= _MOST_TRAJECTORIES:
        raise InputError(f"a picture has 1 to {_MOST_TRAJECTORIES} trajectories")
    with ExitStack() as stack:
        source = stack.enter_context(open_rollout(rollout))
        over = None if real is None else stack.enter_context(open_rollout(real))
        chosen = choose_columns(source, dimensions)
        fans = [read_fan(source, k, over) for k in dict.fromkeys(trajectories)]
        title = _rollout_title(source, fans)
        names = column_names(source)
        size = source.observation_size
        names[:size] = labelled(names[:size], source.env_id or "")
    figure = fan_chart(fans, names, chosen, title)
    save_picture(figure, output, title, overwrite=overwrite)
    return 0 if dimensions else len(names) - len(chosen)


@own_style()
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
        How many dimensions and models were left out for lack of space.

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
        title = _evaluation_title(document, selection)
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is not what this version's imagine evaluate --json prints: "
            f"{type(error).__name__} {error}"
        ) from error
    save_picture(calibration_chart(panels, title), output, title, overwrite=overwrite)
    return selection.left_out + (0 if dimensions else len(names) - len(chosen))


def _rollout_title(rollout: Rollout, fans: list[Fan]) -> str:
    """What it is, in two lines."""
    which = f"trajectory {fans[0].trajectory} of " if len(fans) == 1 else ""
    imagined = "a real run" if rollout.attributes.get("real") else "an imagined rollout"
    facts = {
        "model": rollout.model_kind,
        "propagation": rollout.propagation,
        "policy": rollout.policy,
        "seed": rollout.seed,
    }
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, ""))
    about = printable(f"{rollout.env_id or 'an env'}: {which}{imagined}")
    return f"{about}\n{printable(said)}".rstrip()


def _evaluation_title(document: dict[str, Any], selection: Selection) -> str:
    models = document["models"]
    about = f"{document['env_id']}: intervals against {document['trajectories']} real trajectories"
    further = f"step {selection.curves[0][2]}, policy {document['policy']}"
    if len(models) == 1:
        further = f"{models[0]['name']}, {models[0]['propagation']}"
    return f"{printable(about)}\n{printable(further)}"
