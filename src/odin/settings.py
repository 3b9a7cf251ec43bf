"""Every setting of the server: its name, meaning, unit and default in one table, read once and then frozen.

Values come from, in rising order: defaults, ``odin.toml``, ``ODIN_`` variables, flags. Each place uses the
same name: ``port``, ``ODIN_PORT``, ``--port``. ``[local] mounts`` and ``local_mounts`` are the same key. A
secret may stand in a file: ``ODIN_SECRET_FILE``, ``secret_file``. Source: cli.md, "Commands and settings".
"""

import getpass
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import urlsplit

from odin.model.errors import InvalidInput, Problem, ValidationFailed
from odin.model.names import nearest, user_name
from odin.settingrules import (
    Raw,
    Rule,
    choice,
    cores,
    days,
    folder,
    integer,
    items,
    mapping,
    networks,
    size,
    text,
    truth,
    username,
)

SHORTEST_SECRET = 32  # bytes; reliability.md, A-46

# Names with ODIN_ that are not the server's: of the commands, of tasks, and of this module.
OTHERS = {
    f"ODIN_{name}"
    for names in (
        ("URL", "SCHEME", "TOKEN", "TOKEN_FILE", "USERNAME", "PASSWORD", "CONFIG", "FAULT"),
        ("ROOT_PATH", "WORK_PATH", "DATA_PATH", "RUN_PATH", "TASK_PATH", "PIPE_ID", "TASK_ID", "TASK_NAME"),
        ("TASK_IDS_FILE", "ATTEMPT", "OUTPUTS"),
    )
    for name in names
}
FLAGS = {"database_url": "database"}  # where the flag has another name


def _beside(known: Mapping[str, Any]) -> Path:
    data: Path = known["data"]
    return data.with_name(data.name + "-shared")


def _starter(known: Mapping[str, Any]) -> str:
    try:
        return user_name(str(known["user"] or getpass.getuser()).lower())
    except (InvalidInput, KeyError, OSError):  # a user id without an entry, as in some containers
        return "admin"


def _available(_known: Mapping[str, Any]) -> float:
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


# fmt: off
@dataclass(frozen=True)
class Settings:
    """The table. None stands for what ``shown`` says: nothing, or what Odin makes at start."""

    data: Annotated[Path, Rule(folder,
        "database, secrets, repository, journal and logs; tasks never write here",
        lambda known: known["home"] / ".local/share/odin", shown="~/.local/share/odin")]
    shared: Annotated[Path, Rule(folder,
        "checkouts and run folders: what tasks see", _beside, shown="$ODIN_DATA-shared")]
    host: Annotated[str, Rule(text, "address to listen on", "127.0.0.1")]
    port: Annotated[int, Rule(integer(0, 65535), "port to listen on; 0 takes a free one", 9003)]
    database_url: Annotated[str, Rule(text,
        "the database: SQLite or PostgreSQL", lambda known: f"sqlite:///{known['data']}/odin.db", shown="sqlite:///$ODIN_DATA/odin.db",
        masked="password")] = field(repr=False)
    executor: Annotated[str, Rule(choice("local", "kubernetes"), "where tasks run: local or kubernetes", "local")]
    jobs_remote: Annotated[str | None, Rule(text,
        "git repository that jobs are fetched from and pushed to", masked="password")] = field(repr=False)
    anonymous_read: Annotated[str, Rule(choice("on", "off", "auto"),
        "reading without a token: on, off, or auto (on while listening on loopback alone, behind no proxy)", "auto")]
    root_user: Annotated[str, Rule(username,
        "name of the first admin; read only while no user exists", _starter, shown="who starts the server")]
    root_pass: Annotated[str | None, Rule(text,
        "password of the first admin; read only while no user exists", shown="random, shown once",
        masked="all")] = field(repr=False)
    secret: Annotated[str | None, Rule(text,
        "signs the tokens; at least 32 bytes", shown="made on first start", masked="all")] = field(repr=False)
    midgard_token: Annotated[str | None, Rule(text,
        "with it the node agents (odin-midgard) report, and can do nothing else; at least 32 bytes",
        shown="none: no reports are taken", masked="all")] = field(repr=False)
    auth_issuer: Annotated[str | None, Rule(text,
        "issuer named in tokens; those of another are refused", shown="this store's own id")]
    token_duration_s: Annotated[int, Rule(integer(60, 2_592_000),
        "how long a token is valid", 43_200, unit="seconds")]
    allowed_hosts: Annotated[tuple[str, ...], Rule(items,
        "more names by which clients may call this server, with commas", ())]
    trusted_proxies: Annotated[tuple[str, ...], Rule(networks,
        "proxies whose word on a client's address is taken, with commas", ())]
    max_connections: Annotated[int, Rule(integer(1, 1_000_000), "connections open at once", 2_000)]
    legacy_ws: Annotated[bool, Rule(truth,
        "yes: WebSockets do everything without a token, and read ?token=, for older clients; warns while on", False)]
    retain_days: Annotated[float | None, Rule(days,
        "remove all that a pipeline left so long after its end", shown="none: for ever", unit="days")]
    retain_bytes: Annotated[int | None, Rule(size,
        "remove what the pipelines left that ended first, while files and logs of all hold more than this",
        shown="none: as much as there is", unit="bytes, such as 500G")]
    local_cpus: Annotated[float, Rule(cores,
        "what local tasks may take at once", _available, shown="the cores", unit="CPUs")]
    local_mounts: Annotated[Mapping[str, str], Rule(mapping,
        "where a job's mount paths are on this machine: /data=/srv/data, with commas", {})]
    task_user: Annotated[str | None, Rule(text,
        "user that local tasks run as; the server must be started by root", shown="the server's user")]
    allow_remote_local: Annotated[bool, Rule(truth,
        "yes: listen beyond loopback although tasks run as the server's user", False)]
    namespace: Annotated[str | None, Rule(text,
        "namespace of the cluster in which tasks run", shown="the server's own, or the context's")]
    data_claim: Annotated[str | None, Rule(text,
        "claim that holds ODIN_SHARED, for all pods of tasks; without one, jobs' files are delivered",
        shown="none: files up to 900 kB are delivered")]
    kubernetes_context: Annotated[str | None, Rule(text,
        "context of the kubeconfig that KUBECONFIG names", shown="the current one, or the pod's account")]
    kubernetes_calls: Annotated[int, Rule(integer(1, 10_000),
        "requests to the API server in a second; twice as many in a burst", 200)]
    kubernetes_url: Annotated[str | None, Rule(text,
        "where tasks in pods reach this server: their $ODIN_URL")]
    kubernetes_image: Annotated[str | None, Rule(text, "image of tasks that name none")]
    kubernetes_pull_secrets: Annotated[tuple[str, ...], Rule(items,
        "secrets that images are pulled with, with commas", ())]
    kubernetes_pull_policy: Annotated[str | None, Rule(choice("Always", "IfNotPresent", "Never"),
        "when images are pulled, of tasks that do not say: Always, IfNotPresent or Never",
        shown="as Kubernetes does")]
    kubernetes_pod_security: Annotated[str, Rule(choice("restricted", "baseline"),
        "Pod Security level that pods of tasks satisfy: restricted or baseline", "restricted")]
    kubernetes_run_as: Annotated[int, Rule(integer(1, 2**31 - 1),
        "user and group ids of tasks that name none", 10001)]
    kubernetes_gpu: Annotated[str, Rule(text, "resource that a GPU is", "nvidia.com/gpu")]
    kubernetes_service_accounts: Annotated[tuple[str, ...], Rule(items,
        "service accounts that tasks may name, with commas", ())]
    kubernetes_claims: Annotated[tuple[str, ...], Rule(items,
        "claims that tasks may mount, with commas; * stands for any", ("*",))]
    kubernetes_secrets: Annotated[tuple[str, ...], Rule(items,
        "secrets that tasks may mount, with commas", ())]
    kubernetes_config_maps: Annotated[tuple[str, ...], Rule(items,
        "config maps that tasks may mount, with commas", ())]
    kubernetes_labels: Annotated[tuple[str, ...], Rule(items,
        "labels that tasks may set, with commas; * stands for any without a prefix", ("*",))]
    kubernetes_annotations: Annotated[tuple[str, ...], Rule(items,
        "annotations that tasks may set, with commas", ("*",))]
    kubernetes_node_selectors: Annotated[tuple[str, ...], Rule(items,
        "node labels that tasks may select by, with commas", ("*", "*/*"))]
    kubernetes_tolerations: Annotated[tuple[str, ...], Rule(items,
        "taints that tasks may tolerate, with commas", ("nvidia.com/gpu",))]
    kubernetes_priority_classes: Annotated[tuple[str, ...], Rule(items,
        "priority classes that tasks may have, with commas", ())]
    kubernetes_resources: Annotated[tuple[str, ...], Rule(items,
        "other objects of the namespace that admins may read, such as svc/web or deploy/*, with commas", ())]
    log_level: Annotated[str, Rule(choice("debug", "info", "warning", "error"),
        "least grave messages to log: debug, info, warning or error", "info")]
    log_format: Annotated[str, Rule(choice("text", "json"), "form of the server's log: text or json", "text")]
    # fmt: on

    @property
    def loopback_only(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def anonymous_reads(self) -> bool:
        """Whether reading needs no token. Behind a proxy a loopback address says nothing about who asks."""
        if self.anonymous_read == "auto":
            return self.loopback_only and not self.trusted_proxies
        return self.anonymous_read == "on"


RULES: Mapping[str, Rule] = {
    name: next(extra for extra in get_args(hint) if isinstance(extra, Rule))
    for name, hint in get_type_hints(Settings, include_extras=True).items()
}
KEYS = {name.removesuffix("_s"): name for name in RULES}  # key in odin.toml to setting


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, by name, where each is from: ``default``, ``ODIN_PORT``, ``odin.toml:3``, ``--port``."""

    settings: Settings
    origins: Mapping[str, str]


def variable(name: str) -> str:
    return "ODIN_" + name.removesuffix("_s").upper()


def flag(name: str) -> str:
    return "--" + FLAGS.get(name, name.removesuffix("_s").replace("_", "-"))


def load(flags: Mapping[str, object], environ: Mapping[str, str], config: Path | None) -> Loaded:
    """Read every setting; ``flags`` are by setting or flag name (``database``), None for those not given.

    ``config`` is the file of ``--config``; without it ``$ODIN_CONFIG``, else ``<data>/odin.toml`` if it exists.
    Raises ValidationFailed with every problem, each naming its place.
    """
    problems: list[Problem] = []
    here = Path.cwd()
    given = dict(_from_environ(environ, here, problems))
    names = {flag(name).removeprefix("--").replace("-", "_"): name for name in RULES}
    typed = {names.get(key, key): value for key, value in flags.items() if value is not None}
    given |= {name: Raw(value, flag(name), here) for name, value in typed.items()}
    known: dict[str, Any] = {
        "home": Path(environ.get("HOME") or Path.home()),
        "user": environ.get("LOGNAME") or environ.get("USER"),
    }
    data = _value("data", given, known, [])
    named = config or (Path(environ["ODIN_CONFIG"]) if environ.get("ODIN_CONFIG") else None)
    file = named or data / "odin.toml"
    if named or file.is_file():
        given = dict(_from_file(file, problems)) | given
    for name in RULES:
        known[name] = _value(name, given, known, problems)
    if known["data"] != data and not named:
        problems.append(
            given["data"].problem("a file in the data folder cannot name another one; use ODIN_DATA")
        )
    refuse(problems)
    settings = Settings(**{item.name: known[item.name] for item in fields(Settings)})
    return Loaded(settings, {name: given[name].place() if name in given else "default" for name in RULES})


def refuse(problems: list[Problem]) -> None:
    """Raise ValidationFailed if there are problems."""
    if problems:
        raise ValidationFailed("; ".join(map(str, problems)), problems=problems)


def check(settings: Settings) -> list[Problem]:
    """What forbids starting with these settings although each can be read, with the remedy."""
    return [Problem(sentence) for holds, sentence in _refusals(settings) if holds]


def describe(loaded: Loaded) -> list[tuple[str, str, str]]:
    """``(variable, value, origin)`` of every setting in the table's order; secrets are masked."""
    return [
        (variable(name), _shown(name, getattr(loaded.settings, name)), origin)
        for name, origin in loaded.origins.items()
    ]


def reference() -> list[tuple[str, str, str]]:
    """``(variable, default, meaning)`` of every setting, for the documents and ``--help``."""
    return [
        (
            variable(name),
            _default(name),
            rule.about + (f" ({rule.unit})" if rule.unit else ""),
        )
        for name, rule in RULES.items()
    ]


def _refusals(settings: Settings) -> Iterator[tuple[bool, str]]:
    exposed = settings.executor == "local" and not settings.loopback_only
    yield (
        exposed and not settings.task_user and not settings.allow_remote_local,
        f"listening on {settings.host} lets all who may run pipelines run programs as the server's user;"
        " set ODIN_TASK_USER to run tasks as another user, or ODIN_ALLOW_REMOTE_LOCAL=yes to accept it",
    )
    yield (
        settings.secret is not None and len(settings.secret.encode()) < SHORTEST_SECRET,
        f"ODIN_SECRET is shorter than {SHORTEST_SECRET} bytes; leave it out and Odin makes one",
    )
    yield (
        settings.midgard_token is not None and len(settings.midgard_token.encode()) < SHORTEST_SECRET,
        f"ODIN_MIDGARD_TOKEN is shorter than {SHORTEST_SECRET} bytes; make one with: openssl rand -hex 32",
    )
    yield (
        not settings.database_url.startswith(("sqlite:////", "postgresql://", "postgres://")),
        "ODIN_DATABASE_URL must be sqlite:/// and an absolute path, such as sqlite:////srv/odin/odin.db,"
        " or one of PostgreSQL, such as postgresql://odin@db.example.org/odin",
    )
    user, tasks = os.geteuid(), settings.kubernetes_run_as
    yield (
        settings.executor == "kubernetes" and settings.data_claim is not None and user not in (0, tasks),
        f"the server runs as user {user} and tasks as {tasks}, who could not write in the folders that the server makes"
        f" on the claim; set ODIN_KUBERNETES_RUN_AS={user}, or run the server as {tasks}",
    )
    yield (
        settings.data.is_relative_to(settings.shared) or settings.shared.is_relative_to(settings.data),
        f"ODIN_SHARED ({settings.shared}) and ODIN_DATA ({settings.data}) must not lie in one another:"
        " tasks may write in the first and never in the second",
    )


def _value(name: str, given: Mapping[str, Raw], known: Mapping[str, Any], problems: list[Problem]) -> Any:
    rule = RULES[name]
    raw = given.get(name)
    try:
        return rule.parse(raw) if raw else rule.fallback(known)
    except ValueError as error:
        assert raw is not None
        shown = "" if rule.masked else f", not {raw.value!r}"
        problems.append(raw.problem(f"{error}{shown}"))
        return rule.fallback(known)


def _from_environ(
    environ: Mapping[str, str], base: Path, problems: list[Problem]
) -> Iterator[tuple[str, Raw]]:
    names = {variable(name): name for name in RULES}
    for key in sorted(environ):
        if key.startswith("ODIN_") and environ[key] and key not in OTHERS:
            yield from _known(key, Raw(environ[key], key, base), names, environ, problems)


def _known(
    key: str, raw: Raw, names: Mapping[str, str], whole: Mapping[str, object], problems: list[Problem]
) -> Iterator[tuple[str, Raw]]:
    """The setting that a key stands for, read from a file where the key says so; else a problem, or nothing."""
    suffix = "_FILE" if key.isupper() else "_file"
    stem = key.removesuffix(suffix)
    if key in names:
        yield names[key], raw
    elif key != stem and stem in names and RULES[names[stem]].masked:
        yield from _from_secret_file(names[stem], stem in whole, raw, problems)
    elif sentence := _unknown(key, names):
        problems.append(raw.problem(sentence))


def _unknown(key: str, names: Iterable[str]) -> str | None:
    """A file holds nothing but settings; a variable may be somebody else's unless it is near one."""
    bare = key.removeprefix("ODIN_")
    if near := nearest(bare, [name.removeprefix("ODIN_") for name in names], 1):
        return f"there is no setting {key}; did you mean {key.removesuffix(bare)}{near[0]}?"
    return None if key.isupper() else f"there is no setting {key}; `odin-serve --check` lists them"


def _from_secret_file(name: str, twice: bool, raw: Raw, problems: list[Problem]) -> Iterator[tuple[str, Raw]]:
    path = folder(raw)
    if twice:
        problems.append(raw.problem("the value is given too; keep one of the two"))
        return
    try:
        yield name, Raw(path.read_text().rstrip("\r\n"), raw.origin, raw.base, raw.line)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            raw.problem(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not a text'}")
        )


def _from_file(path: Path, problems: list[Problem]) -> Iterator[tuple[str, Raw]]:
    try:
        content = path.read_text()
        tree = tomllib.loads(content)
    except (OSError, ValueError) as error:
        problems.append(_unreadable(path, error))
        return
    lines = dict(_lines(content))
    flat = dict(_flat(tree))
    for key, value in flat.items():
        raw = Raw(value, str(path), path.parent.absolute(), lines.get(key, 1))
        yield from _known(key, raw, KEYS, flat, problems)


def _unreadable(path: Path, error: Exception) -> Problem:
    place = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error))
    if place:
        return Problem(place[1], file=str(path), line=int(place[2]), column=int(place[3]))
    return Problem(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=str(path))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of nested tables joined with ``_``, down to a key that is a setting."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in KEYS:
            yield from _flat(value, f"{name}_")
        else:
            yield name, value


def _lines(content: str) -> Iterator[tuple[str, int]]:
    """The line on which each key or table stands, by the name that ``_flat`` gives it."""
    table = ""
    for number, line in enumerate(content.splitlines(), start=1):
        if header := re.match(r"\s*\[([\w.\s-]+)\]", line):
            table = header[1].strip().replace(".", "_") + "_"
            yield table.removesuffix("_"), number
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            yield table + key[1].replace(".", "_"), number


def _default(name: str) -> str:
    return RULES[name].shown or _shown(name, RULES[name].default)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return RULES[name].shown or "none"
    if RULES[name].masked:
        return "********" if RULES[name].masked == "all" else without_password(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = tuple(f"{key}={target}" for key, target in value.items())
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_password(url: str) -> str:
    """A URL that may be shown to anybody."""
    password = urlsplit(url).password
    shown = url.replace(f":{password}@", ":********@") if password else url
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1********", shown)
