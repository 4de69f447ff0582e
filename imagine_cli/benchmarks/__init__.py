"""How fast imagining is on this machine, beside its peers and beside what no way around is known."""
