"""Where tasks run. ``protocol`` is what the engine knows of it."""
