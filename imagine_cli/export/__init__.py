"""What is ours as files of other tools."""
