"""``odin-show``: the jobs, the files of a job or what was rendered for a pipeline, or one file."""

from __future__ import annotations

from functools import partial

from odin.cli.options import Parser, connected, name
from odin.cli.session import Session
from odin.cli.text import clean, clean_log
from odin.client.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping

    from odin.client.job import Job

EXAMPLES = (
    ("", "the jobs there are"),
    ("hello", "all text files of a job"),
    ("hello --tree", "the names of its files"),
    ("hello main.yml", "one file, as it is"),
    ("hello --at aa86bac1cab5f50773c04059c8cd57b87319f9c3", "as it was at a commit"),
    ("sweep-ab12cd34", "what the job's templates became for a pipeline"),
    ("sweep-ab12cd34 main.yml", "one of these files"),
)
DESCRIPTION = """\
Show the jobs, a job's files, or one file. Of a pipeline: the files that were rendered for it
from the job's templates, as they were when it was launched."""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES)
    made.add_argument("job", nargs="?", type=name, metavar="JOB", help="a job or a pipeline")
    made.add_argument("file", nargs="?", type=name, metavar="FILE")
    made.add_argument("--tree", action="store_true", help="names and sizes only")
    made.add_argument("--at", metavar="SHA", help="at this commit, all 40 digits (default: the newest)")
    return connected(made)


def main(options: Namespace) -> int:
    session = Session(options)
    if not options.job:
        show_jobs(session)
        return 0
    try:
        show_file(session) if options.file else show_job(session)
    except NotFound as error:
        if options.at:  # only a job has commits
            raise
        show_pipeline(session, error)
    return 0


def show_pipeline(session: Session, error: NotFound) -> None:
    """There is no such job, or no such file in it: ``error``. Then the name may be a pipeline's."""
    from odin.cli import rendered

    name = session.options.job
    try:
        files = session.client.pipeline_files(name)
    except NotFound as missing:
        raise missing if rendered.is_handle(name) and not is_job(session, name) else error from None
    rendered.show(session, files)


def is_job(session: Session, name: str) -> bool:
    try:
        session.client.job(name)
    except NotFound:
        return False
    return True


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
        show_tree(session, job.files)
    else:
        show_texts(session, {file: partial(text_of, session, job, file) for file in job.files})


def show_tree(session: Session, files: Mapping[str, int]) -> None:
    rows = [[name, str(size)] for name, size in files.items()]
    session.screen.say("\n".join(session.screen.table(("file", "bytes"), rows, right="bytes")))


def show_texts(session: Session, texts: Mapping[str, Callable[[], str]]) -> None:
    """Each under its name, fetched when its turn comes."""
    for number, (file, text) in enumerate(texts.items()):
        heading = session.screen.paint(f"==> {clean(file)} <==", "bold")
        session.screen.say(("\n" if number else "") + heading)
        write_text(session, text())


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
    write_file(session, fetched(session, session.options.file))


def write_file(session: Session, body: bytes) -> None:
    """To a terminal as safe text, elsewhere the bytes as they are."""
    if session.options.json:
        session.screen.json({"name": session.options.file, "content": body.decode("utf-8", "backslashreplace")})
    elif session.screen.terminal:
        write_text(session, body.decode("utf-8", "backslashreplace"))
    else:
        session.screen.stream.buffer.write(body)
