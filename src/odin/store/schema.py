"""The tables. ``events`` is the history; pipelines, tasks and attempts are projections written in the same commit.

Moments are POSIX seconds as double precision (``*_at``), durations seconds (``*_s``), JSON is text. The migrations
in ``odin.store.migrations`` make exactly these tables; a test compares them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite gives rowids to INTEGER PRIMARY KEY only.
Serial = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("uid", Serial, primary_key=True, autoincrement=True),  # never given twice
    Column("username", String(64), nullable=False, unique=True),  # lower case
    Column("firstname", Text, nullable=False, default=""),
    Column("lastname", Text, nullable=False, default=""),
    Column("role", String(16), nullable=False),  # viewer | editor | admin
    Column("password_hash", Text, nullable=False),
    Column("not_before", Float, nullable=False, default=0.0),  # tokens issued earlier are dead
    Column("created_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=True),  # order of submission
    Column("id", String(63), nullable=False, unique=True),
    Column("name", String(63), nullable=False),
    Column("job", Text, nullable=False),
    Column("version", String(40), nullable=False),  # the commit
    Column("username", String(64), nullable=False),
    Column("user_uid", BigInteger, nullable=False),
    Column("context", Text, nullable=False, default="{}"),
    Column("status", String(16), nullable=False),  # BUILDING | RUNNING | DONE | TERMINATED
    Column("outcome", String(16)),  # succeeded | failed | cancelled
    Column("error_message", Text),
    Column("warnings", Text, nullable=False, default="[]"),
    Column("on_failure", String(16), nullable=False),
    Column("timeout_s", Float),
    Column("submitted_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("stop", String(16)),  # durable flag: cancel | timeout | cleanup
    Column("stop_message", Text),
    Column("deleting", Text),  # JSON {"fs": bool, "db": bool} once a cleanup is committed
    Column("rerun_of", String(63)),
    Column("task_count", Integer, nullable=False),
    Column("owner", String(32)),  # the server that drives it, where there are several; None: the only one
    Column("place", String(255)),  # what a server must reach to drive it
    Column("fence", BigInteger, nullable=False, default=1),  # grows with each owner
    Column("seq", BigInteger, nullable=False, default=0),
    Index("pipelines_by_job", "job", "number"),
    Index("pipelines_by_status", "status", "number"),
    Index("pipelines_by_version", "version"),
    Index("pipelines_by_completion", "completed_at"),
    Index("pipelines_by_rerun", "rerun_of"),
    sqlite_autoincrement=True,
)

tasks = Table(
    "tasks",
    metadata,
    Column("pipeline", String(63), primary_key=True),
    Column("idx", Integer, primary_key=True),  # the file's order
    Column("name", String(63), nullable=False),
    Column("spec", Text, nullable=False),  # odin.model.job.dump_task
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False, default=0),  # the newest attempt's number, 0 before the first
    Column("exit_code", Integer),
    Column("submitted_at", Float),  # its first attempt was planned
    Column("started_at", Float),
    Column("completed_at", Float),
    Column("due_at", Float),  # a retry waits until then
    Column("spent", Text),  # JSON, retries used by cause
    Column("origin", String(63)),  # the pipeline that it ran in, where this one resumes another and does not run it
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("pipeline", String(63), primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(8), nullable=False),  # planned | placed | running | ended
    Column("stop", String(16)),  # durable flag: cancel | timeout | cleanup
    Column("cards", Text),  # JSON list of GPU indexes given
    Column("planned_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("exit_code", Integer),
    Column("reason", String(16)),  # odin.executors.protocol.Reason
    Column("message", Text),
    Column("cpu_s", Float),
    Column("rss_kb", BigInteger),
    Column("log_bytes", BigInteger),
    Column("node", Text),  # the machine, or machines
    Column("memory_bytes", BigInteger),  # asked for
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("pipeline", String(63), primary_key=True),
    Column("seq", BigInteger, primary_key=True),  # gapless from 1
    Column("at", Float, nullable=False),
    Column("type", String(16), nullable=False),  # what happened: the model's names of moves
    Column("idx", Integer),  # the task; None for the pipeline
    Column("attempt", Integer),
    Column("message", Text),
    sqlite_with_rowid=False,
)

cluster_events = Table(
    "cluster_events",
    metadata,
    Column("pipeline", String(63), primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("uid", String(64), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(63), nullable=False),  # the object that it is about
    Column("name", String(253), nullable=False),
    Column("at", Float, nullable=False),  # the last time
    Column("times", Integer, nullable=False),
    Column("type", String(16), nullable=False),  # Normal | Warning
    Column("reason", String(128), nullable=False),
    Column("source", String(253), nullable=False),
    Column("message", Text, nullable=False),
    sqlite_with_rowid=False,
)

servers = Table(
    "servers",
    metadata,
    Column("id", String(32), primary_key=True),  # of one process
    Column("home", String(64), nullable=False),  # of its seat at its data folder, which one process holds at a time
    Column("place", String(255), nullable=False),  # where its tasks run
    Column("name", Text, nullable=False),  # for people
    Column("expires_at", Float, nullable=False),  # its lease, by the database's clock
)

orders = Table(
    "orders",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=True),
    Column("pipeline", String(63), nullable=False),  # driven by another server than the one that was asked
    Column("stop", String(16), nullable=False),
    Column("message", Text, nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", String(63), primary_key=True),  # of a pipeline whose rows are gone; never given again
    Column("at", Float, nullable=False),
    Index("tombstones_by_at", "at"),
    sqlite_with_rowid=False,
)

rendered = Table(
    "rendered",
    metadata,
    Column("pipeline", String(63), primary_key=True),
    Column("path", Text, primary_key=True),  # below the job's folder, without ".jinja2"
    Column("content", Text, nullable=False),
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("user_uid", BigInteger, primary_key=True),
    Column("route", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("idempotency_by_at", "at"),
)

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),  # store id, schema facts
    Column("value", Text, nullable=False),
)
