"""``odin-serve``: read the flags and start the server, the one command that imports it."""

from __future__ import annotations

import sys

from odin.cli.options import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("", "on http://127.0.0.1:9003, data in ~/.local/share/odin"),
    ("--port 9100 --data /srv/odin", "elsewhere"),
    ("--check", "every setting and where it came from; starts nothing"),
    ("migrate", "bring the database to this version's schema"),
    ("backup odin.tar.gz", "copy database and jobs into one file, while the server runs"),
    ("restore odin.tar.gz", "put them back; the server must be stopped"),
)
DESCRIPTION = """\
Start the Odin server. Settings come from odin.toml, ODIN_ variables and these flags, in rising order;
docs/settings.md has them all."""

WORDS = ("migrate", "backup", "restore")
SETTINGS = {"--database": "database_url"}  # where the flag is not called as its setting

FLAGS = (
    ("--host", "HOST", "where to listen (default: 127.0.0.1)"),
    ("--port", "PORT", "(default: 9003)"),
    ("--data", "DIR", "where everything is kept (default: ~/.local/share/odin)"),
    ("--executor", "NAME", "local or kubernetes (default: local)"),
    ("--database", "URL", "(default: SQLite in the data folder)"),
    ("--jobs-remote", "URL", "a git repository to fetch jobs from and push them to"),
    ("--anonymous-read", "on|off|auto", "may anybody read? (default: auto, while only this machine can connect)"),
)


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES, environment=False)
    made.add_argument("word", nargs="?", choices=WORDS, help="instead of starting the server")
    made.add_argument("file", nargs="?", metavar="FILE", help="of backup and restore")
    for flag, metavar, meaning in FLAGS:
        made.add_argument(flag, metavar=metavar, help=meaning)
    made.add_argument("--config", metavar="FILE", help="(default: odin.toml in the data folder)")
    made.add_argument("--check", action="store_true", help="print every setting and where it came from; start nothing")
    return made


def main(options: Namespace) -> int:
    from odin.main import backup, migrate, restore, serve

    flags = given(options)
    if (options.file is not None) != (options.word in ("backup", "restore")):
        wanted = "needs a FILE" if options.file is None else f"takes no argument {options.file}"
        return usage(f"odin-serve {options.word or ''}".rstrip(), wanted)
    if options.word == "migrate":
        return int(migrate(flags, config=options.config))
    if options.word is not None:
        return int({"backup": backup, "restore": restore}[options.word](flags, options.file, config=options.config))
    return int(serve(flags, check=options.check, config=options.config))


def usage(prog: str, wanted: str) -> int:
    print(f"{prog} {wanted}; see odin-serve --help", file=sys.stderr)
    return 2


def given(options: Namespace, flags: tuple[tuple[str, str, str], ...] = FLAGS) -> dict[str, object]:
    """The flags that were given, by the names of the settings."""
    found: dict[str, object] = {}
    for flag, _, _ in flags:
        key = flag.removeprefix("--").replace("-", "_")
        if getattr(options, key) is not None:
            found[SETTINGS.get(flag, key)] = getattr(options, key)
    return found
