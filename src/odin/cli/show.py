"""``odin-show``: the jobs, a job's files, or one file."""

from __future__ import annotations

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean, clean_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from odin.client.job import Job

EXAMPLES = (
    ("", "the jobs there are"),
    ("hello", "all text files of a job"),
    ("hello --tree", "the names of its files"),
    ("hello main.yml", "one file, as it is"),
    ("hello --at aa86bac1cab5f50773c04059c8cd57b87319f9c3", "as it was at a commit"),
)


def parser(prog: str) -> Parser:
    made = Parser(prog, "Show the jobs, a job's files, or one file.", EXAMPLES)
    made.add_argument("job", nargs="?", type=name, metavar="JOB")
    made.add_argument("file", nargs="?", type=name, metavar="FILE")
    made.add_argument("--tree", action="store_true", help="names and sizes only")
    made.add_argument("--at", metavar="SHA", help="at this commit, all 40 digits (default: the newest)")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    if options.file:
        show_file(session)
    elif options.job:
        show_job(session)
    else:
        show_jobs(session)
    return 0


def show_jobs(session: Session) -> None:
    jobs = session.client.jobs()
    if session.show({"jobs": [job.raw for job in jobs]}):
        return
    for job in jobs:
        session.screen.say(clean(job.id))
    if not jobs:
        session.note("there are no jobs yet; make one with odin-push -c JOB FILE...")


def show_job(session: Session) -> None:
    job = session.client.job(session.options.job, at=session.options.at)
    if session.show({"job": job.raw}):
        return
    if session.options.tree:
        rows = [[name, str(size)] for name, size in job.files.items()]
        session.screen.say("\n".join(session.screen.table(("file", "bytes"), rows, right="bytes")))
        return
    for number, file in enumerate(job.files):
        heading = session.screen.paint(f"==> {clean(file)} <==", "bold")
        session.screen.say(("\n" if number else "") + heading)
        write_text(session, text_of(session, job, file))


def text_of(session: Session, job: Job, file: str) -> str:
    """The answer has the text files; another one is asked for."""
    if file in (contents := job.configs):
        return contents[file]
    try:
        return fetched(session, file).decode()
    except UnicodeDecodeError:
        return f"(binary, {job.files[file]} bytes)"


def fetched(session: Session, file: str) -> bytes:
    return session.client.file(session.options.job, file, at=session.options.at)


def write_text(session: Session, text: str) -> None:
    shown = clean_log(text, colour=session.screen.colour)
    session.screen.write(shown if shown.endswith("\n") or not shown else shown + "\n")


def show_file(session: Session) -> None:
    """To a terminal as safe text, elsewhere the bytes as they are."""
    body = fetched(session, session.options.file)
    if session.options.json:
        session.screen.json({"name": session.options.file, "content": body.decode("utf-8", "backslashreplace")})
    elif session.screen.terminal:
        write_text(session, body.decode("utf-8", "backslashreplace"))
    else:
        session.screen.stream.buffer.write(body)
