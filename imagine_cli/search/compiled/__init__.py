"""What a policy search spends its time in, as machine code."""
