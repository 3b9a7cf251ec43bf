"""The versions of the schema, oldest first. Alembic itself is imported by the migrating child alone."""

VERSIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = VERSIONS[-1]
