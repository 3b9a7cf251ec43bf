"""What a job's templates became for one pipeline, for ``odin-show``."""

from __future__ import annotations

from functools import partial

from odin.cli.show import show_texts, show_tree, write_file
from odin.client.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from odin.cli.session import Session

SUFFIX = 8  # characters of a handle after its job's name


def is_handle(name: str) -> bool:
    """Whether it reads like a pipeline's id more than like a job's name."""
    head, _, suffix = name.rpartition("-")
    return bool(head) and len(suffix) == SUFFIX and suffix.isalnum() and any(map(str.isdigit, suffix))


def show(session: Session, files: Mapping[str, int]) -> None:
    """``files``: names and sizes."""
    options = session.options
    if options.file:
        show_one(session)
    elif options.json:
        session.screen.json({"files": [record(session, name, size) for name, size in files.items()]})
    elif not files:
        session.note(f"nothing was rendered for {options.job}: {elsewhere(session)}")
    elif options.tree:
        show_tree(session, files)
    else:
        show_texts(session, {name: partial(session.client.pipeline_file, options.job, name) for name in files})


def show_one(session: Session) -> None:
    options = session.options
    try:
        text = session.client.pipeline_file(options.job, options.file)
    except NotFound as error:
        raise NotFound(f"{error.detail} ({elsewhere(session)})", status=error.status) from error
    write_file(session, text.encode())


def record(session: Session, name: str, size: int) -> dict[str, object]:
    content = {} if session.options.tree else {"content": session.client.pipeline_file(session.options.job, name)}
    return {"name": name, "bytes": size, **content}


def elsewhere(session: Session) -> str:
    """The files that are no templates are in the commit that the pipeline runs."""
    pipeline = session.client.pipeline(session.options.job)
    return f"its other files: {session.typed('odin-show', pipeline.job, '--at', pipeline.version)}"
