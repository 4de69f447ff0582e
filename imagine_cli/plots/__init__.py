"""Pictures of rollouts and evaluations: as files with matplotlib, in the terminal with plotext."""
