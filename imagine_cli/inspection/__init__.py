"""What is remarkable in a rollout: statistics and checks."""
