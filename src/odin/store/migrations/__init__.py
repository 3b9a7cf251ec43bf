"""The versions of the schema, oldest first. Alembic itself is imported by the migrating child alone."""

VERSIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = VERSIONS[-1]
# The oldest program that may work on this schema beside newer ones: raised by a migration that does more than add
# tables, indexes, and columns that are empty or have a default.
OLDEST = "0005"
