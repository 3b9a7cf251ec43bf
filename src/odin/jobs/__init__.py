"""The jobs repository in git: read, written, checked out, cloned and pushed."""
