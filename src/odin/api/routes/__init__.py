"""The routes, by what they speak of. Each is guarded by its row in ``odin.api.access``."""
