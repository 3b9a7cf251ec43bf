"""The program that checks and renders the templates of one job: ``python -I sandbox.py``, a process for each go.

Whoever may push a template has code run here, so nothing is trusted to Jinja's sandbox alone: the process has no
environment and no descriptors but its three, cannot open another one (so there is no file and no network) and no
process, dies of its limits, and where the server is root it is nobody before it reads a template. What templates
may call and look into is listed; everything else is refused. The server starts this file and never imports it.

Reads one JSON object: ``templates`` (name to text) and ``context``, null to check the syntax only. Writes one:
``files`` (name without ``.jinja2`` to text), ``used`` (names that templates refer to) and ``problems``, each with
``file``, ``line``, ``kind``, ``text`` and perhaps ``name`` and ``known``. Source: reliability.md, A-23 and A-24.
"""

from __future__ import annotations

import codecs
import json
import os
import resource
import sys
import textwrap  # noqa: F401 - the filter wordwrap loads it when it is called: nothing can be opened then
import types
import unicodedata  # noqa: F401 - a text with a character's name in it does
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

# jinja2.debug is imported here since it would be loaded when the first template fails: nothing can be opened then.
import jinja2.debug
from jinja2 import StrictUndefined, Undefined, meta
from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.filters import FILTERS as ALL_FILTERS
from jinja2.loaders import BaseLoader
from jinja2.runtime import BlockReference, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace, missing

SUFFIX = ".jinja2"
CPU_S = 2
MEMORY = 256 * 1024 * 1024
OUTPUT = 1024 * 1024
NOBODY = 65534  # user and group; by number, since a file would have to be opened for the name
STILL_ROOT = 77  # EX_NOPERM of sysexits.h
LONGEST_TEXT = 500  # characters of what is said of a problem: it may quote a value of any size

# Allowed by name, so that what a newer Jinja brings is refused until somebody has looked at it. Left out: what gives
# attributes by name, chance (the same context must give the same files), and markup for web pages.
FILTERS = (
    "abs batch capitalize center count d default dictsort e escape filesizeformat first float format groupby indent"
    " int items join last length list lower map max min reject rejectattr replace reverse round safe select selectattr"
    " slice sort string sum title trim truncate unique upper urlencode wordcount wordwrap"
)
PLAIN = (str, int, float, list, tuple, dict, range, types.NoneType)
PARTS = (Namespace, LoopContext, Macro, TemplateReference, jinja2.environment.TemplateModule)
UNWANTED = frozenset({"format", "format_map"})
# What code of a template can raise; anything else ends this process, which is a refusal too.
FAILURES = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)

# The lexer asks for these, and Python would open their files for it.
for codec in ("ascii", "unicode-escape"):
    codecs.lookup(codec)

Problem = dict[str, Any]


class Unknown(UndefinedError):
    """A name that is nowhere. ``known`` are those that an object has instead, None for the context's own."""

    def __init__(self, name: str, known: Iterable[object] | None, message: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.known = known


class TooMuch(Exception):
    """The rendered files have more than ``OUTPUT`` bytes."""


class Missing(StrictUndefined):
    """An undefined value that remembers what it was asked by."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = UndefinedError
    ) -> None:
        if hint is None and obj is missing and name is not None:
            exc = partial(Unknown, name, None)
        elif hint is None and isinstance(obj, dict) and isinstance(name, str):
            exc = partial(Unknown, name, [key for key in obj if isinstance(key, str)][:1000])
        super().__init__(hint, obj, name, exc)

    # Jinja's own prints it: a list with an undefined name in it would become a file with "[Undefined]".
    __repr__ = Undefined._fail_with_undefined_error


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with what is listed above, and nothing to load but the job's own templates."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        # Not escaped for HTML: what is made are configuration files and scripts.
        super().__init__(undefined=Missing, autoescape=False, loader=Own(templates), keep_trailing_newline=True)
        self.globals = {"range": safe_range, "dict": dict, "namespace": Namespace}
        self.filters = {name: ALL_FILTERS[name] for name in FILTERS.split()} | {"tojson": to_json}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        allowed = isinstance(obj, PLAIN + PARTS) and not isinstance(obj, type) and attr not in UNWANTED
        return allowed and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self.unsafe_undefined(obj, argument) if isinstance(obj, type) else super().getitem(obj, argument)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """At once, where Jinja waits until the value is used."""
        raise SecurityError(f"{type(obj).__name__}.{attribute} is out of reach")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ARG002
        """There is none: ``%`` and the filter ``format`` do the same and look into nothing."""
        return None

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, types.BuiltinMethodType | types.MethodType):
            return isinstance(obj.__self__, (*PLAIN, LoopContext)) and obj.__name__ not in UNWANTED
        listed = any(obj is each for each in self.globals.values())
        return listed or isinstance(obj, (Macro, BlockReference, LoopContext, Undefined))


class Own(BaseLoader):
    """The templates that were given, by their path in the job."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._templates = templates

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Callable[[], bool]]:  # noqa: ARG002
        if template not in self._templates:
            raise TemplateNotFound(template)
        return self._templates[template], template, lambda: True


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON, which YAML reads too; the only change to Jinja's own is that ``<`` and ``'`` stay as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_no_json)


def _no_json(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises, and says which name it is
    if isinstance(value, range):
        return list(value)
    raise TypeError(f"tojson cannot write {type(value).__name__}")


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request. Every template that is wrong is named, each with its first problem."""
    templates: dict[str, str] = request["templates"]
    sandbox, context = Sandbox(templates), request["context"]
    used: set[str] = set()
    files: dict[str, str] = {}
    problems: list[Problem] = []
    left = OUTPUT
    for name, text in templates.items():
        try:
            used |= meta.find_undeclared_variables(sandbox.parse(text, name, name))
            if context is not None:
                files[name.removesuffix(SUFFIX)] = made = rendered(sandbox, name, context, left)
                left -= len(made.encode())
        except (TooMuch, *FAILURES) as error:
            problems.append(problem(error, name, templates))
    return {"files": {} if problems else files, "used": sorted(used), "problems": problems}


def rendered(sandbox: Sandbox, name: str, context: Mapping[str, Any], left: int) -> str:
    """The text of one file, of at most ``left`` bytes."""
    pieces = []
    for piece in sandbox.get_template(name).generate(context):
        left -= len(piece.encode())
        if left < 0:
            raise TooMuch
        if "\0" in piece:
            raise ValueError("the file would contain a NUL character")
        pieces.append(piece)
    return "".join(pieces)


def problem(error: BaseException, name: str, templates: Mapping[str, str]) -> Problem:
    """What went wrong, and where: the innermost line of a template that was on the way."""
    file, line = place(error, name, templates)
    said = error.message if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
    found: Problem = {"file": file, "line": line, "kind": kind(error), "text": (said or "")[:LONGEST_TEXT]}
    if isinstance(error, Unknown):
        found |= {"name": error.name, "known": error.known}
    return found


def kind(error: BaseException) -> str:
    """Ordered rules, first match wins."""
    rules: tuple[tuple[Any, str], ...] = (
        (TooMuch, "output"),
        (MemoryError, "memory"),
        (RecursionError, "depth"),
        (Unknown, "unknown"),
        (SecurityError, "forbidden"),
        (TemplateNotFound, "absent"),
        (TemplateSyntaxError, "syntax"),
    )
    return next((name for type_, name in rules if isinstance(error, type_)), "failed")


def place(error: BaseException, name: str, templates: Mapping[str, str]) -> tuple[str, int | None]:
    if isinstance(error, TemplateSyntaxError):
        return (error.name if error.name and error.name in templates else name), error.lineno
    found: tuple[str, int | None] = (name, None)
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        found = (file, trace.tb_lineno) if file in templates else found
        trace = trace.tb_next
    return found


def confine() -> None:
    """Set this process's limits and give up what it may do as root, for good."""
    limit()
    give_up_root()


def give_up_root() -> None:
    """Become nobody, who owns nothing here, shares nothing with tasks, is held by every limit and cannot come back.

    Ends the process, with a code of its own, where root is not allowed to: then nothing may be rendered.
    """
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        sys.exit(STILL_ROOT)


def limit() -> None:
    """Only Linux has, and keeps, all of these."""
    for what, soft, hard in (
        ("CPU", CPU_S, CPU_S + 1),
        ("AS", MEMORY, MEMORY),
        ("CORE", 0, 0),
        ("FSIZE", 0, 0),
        ("NPROC", 0, 0),
        ("NOFILE", 3, 3),
    ):
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (soft, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise


def main() -> None:
    confine()
    request = json.loads(sys.stdin.buffer.read())
    answer = json.dumps(work(request), ensure_ascii=False)
    sys.stdout.buffer.write(answer.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
