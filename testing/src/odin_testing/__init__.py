"""The test distribution of Odin: kill points. Production installs do not have it."""
