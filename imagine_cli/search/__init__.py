"""Policy search: what acts is made better by gradients through imagination."""
