"""``imagine inspect --plot``: fan charts in the terminal."""

from __future__ import annotations

from pathlib import Path

from imagine_cli.errors import require


def inspect_plot(path: Path, trajectory: int) -> None:
    """Print a chart for each dimension of one trajectory. Raises InputError."""
    from imagine_cli.cli.console import answers, warning_line
    from imagine_cli.cli.tables import speaks_unicode
    from imagine_cli.plots.fan_data import choose_dimensions, read_fan
    from imagine_cli.plots.terminal_chart import terminal_chart
    from imagine_cli.printable import printable
    from imagine_cli.recording import open_rollout

    require("plot", "plotext")
    console = answers()
    width = max(40, min(console.width, 120))
    with open_rollout(path) as rollout:
        fan = read_fan(rollout, trajectory, points=4 * width)
        names = rollout.observation_names
        chosen = choose_dimensions(names, [], rollout.path)
        print(
            f"trajectory {trajectory} of {rollout.trajectories} (counted from 0): the mean, and "
            "between which numbers 50 and 95 % of the belief lie"
        )
    for d in chosen:
        drawn = terminal_chart(
            fan,
            d,
            printable(names[d]),
            width=width,
            colour=console.is_terminal and not console.no_color,
            unicode=speaks_unicode(),
        )
        print("\n".join(line.rstrip() for line in drawn.splitlines()))
    if len(chosen) < len(names):
        warning_line(f"{len(names) - len(chosen)} dimensions are left out for lack of space")
