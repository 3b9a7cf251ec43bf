"""The kinds of object that a task can be in a cluster: one row of one table each, all of it pure."""
