"""Files that appear whole, their digests, and archives of plain data."""
