"""``odin-fsck``: holds database, files, git and cluster against one another, names what differs, and mends it."""
