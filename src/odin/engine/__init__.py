"""The loop that drives pipelines; the only writer of pipeline and task state."""
