"""What several tests share: models, envs, files, references."""
