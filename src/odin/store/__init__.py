"""The database: what is committed here has happened, nothing else has."""
