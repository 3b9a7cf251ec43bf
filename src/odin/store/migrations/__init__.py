"""The versions of the schema, oldest first. Alembic itself is imported by the migrating child alone."""

VERSIONS = ("0001",)
HEAD = VERSIONS[-1]
