"""How a belief goes through a world model: one way a file."""
