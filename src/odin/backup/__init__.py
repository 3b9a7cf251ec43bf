"""Backups: the database and the jobs in one file, made beside a running server, and put back without one."""
