"""How fast imagining is on this machine, beside its peers and beside floors."""
