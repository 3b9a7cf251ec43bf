"""``odin-push``: files of a job, all in one commit.

The bytes are read here and sent as they are. Of a folder, hidden names, ``__pycache__`` and links are left out, and
told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean
from odin.client.errors import NotFound, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("hello main.yml train.py", "two files, one commit"),
    ("-c hello examples/hello", "a new job from a folder"),
    ("hello new.yml --file_name main.yml", "under another name"),
    ("hello main.yml --draft", "without checking it yet"),
)
DESCRIPTION = """\
Push files into a job; together they are one commit. A folder is pushed with all that is in it.
A main.yml with errors is refused with every place, unless --draft."""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("job", type=name, metavar="JOB")
    made.add_argument("files", nargs="+", metavar="FILE", help="a file or a folder")
    made.add_argument("-c", "--create", action="store_true", help="make the job if it is new")
    made.add_argument("--file_name", "--file-name", metavar="NAME", help="its name in the job (one file)")
    made.add_argument("--draft", action="store_true", help="skip the check of the job")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    files = dict(collected(options, session.note))
    try:
        pushed = session.client.push(options.job, files, create=options.create, draft=options.draft)
    except NotFound as error:
        raise error if options.create else hinted(error) from error
    if not session.show(pushed.raw):
        for location in pushed.files:
            session.screen.say(clean(location))
    return 0


def hinted(error: NotFound) -> NotFound:
    """The same, and what to do when the job is meant to be new."""
    return NotFound(f"{error.detail} (-c makes a new job)", status=error.status)


def collected(options: Namespace, note: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """``(name in the job, bytes)``, each name once. Raises Usage."""
    if options.file_name and (len(options.files) > 1 or os.path.isdir(options.files[0])):
        raise Usage("--file_name names one file; there is a folder or more than one")
    found: dict[str, str] = {}
    for place in options.files:
        for inside, path in walked(place, note) if os.path.isdir(place) else single(place, options.file_name):
            if found.setdefault(inside, path) != path:
                raise Usage(f"{found[inside]} and {path} would both become {inside}")
    if not found:
        raise Usage(f"there are no files in {', '.join(options.files)}")
    return [(inside, content(path)) for inside, path in found.items()]


def single(path: str, wanted: str | None) -> Iterator[tuple[str, str]]:
    yield wanted or os.path.basename(path), path


def walked(folder: str, note: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """The folder's files by their place in it, in order of name."""
    for here, folders, files in os.walk(folder):
        left_out = [entry for entry in folders + files if passed_over(here, entry)]
        for entry in left_out:
            note(f"left out: {os.path.join(here, entry)}")
        folders[:] = sorted(entry for entry in folders if entry not in left_out)
        for entry in sorted(entry for entry in files if entry not in left_out):
            path = os.path.join(here, entry)
            yield os.path.relpath(path, folder).replace(os.sep, "/"), path


def passed_over(here: str, entry: str) -> bool:
    return entry.startswith(".") or entry == "__pycache__" or os.path.islink(os.path.join(here, entry))


def content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Usage(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
