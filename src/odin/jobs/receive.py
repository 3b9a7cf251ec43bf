"""What git runs before it accepts a push: ``python -m odin.jobs.receive``, the pre-receive hook.

Reads the offered updates from stdin, checks the new tree and every job that differs, has the remote take the
commit where there is one, and ends with 0 to accept or 1 to refuse. What it prints, the one who pushes sees. The
new objects are in quarantine until git accepts them. Source: githooks(5), "pre-receive"; git-receive-pack(1).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pygit2

from odin.jobs import home
from odin.jobs.checking import TreeCheck
from odin.jobs.failures import translated
from odin.jobs.mains import Mains
from odin.jobs.objects import NO_SHA, Git, tree_of
from odin.jobs.refs import Branch
from odin.jobs.remote import Remote
from odin.jobs.survey import Surveyor
from odin.jobs.templates import Templates
from odin.model.errors import Conflict, InvalidInput, OdinError, ValidationFailed
from odin.model.ids import Sha

DRAFT = "draft"
QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
SHOWN = 50


def main() -> int:
    try:
        _receive(Path(os.environ.get("GIT_DIR", ".")).absolute(), sys.stdin.read(), os.environ)
    except OdinError as error:
        _explain(error)
        return 1
    return 0


def _explain(error: OdinError) -> None:
    lines = [str(problem) for problem in error.problems] or [str(error)]
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more")
    if isinstance(error, ValidationFailed):
        print("Nothing was accepted. Mend this, or push with -o draft to keep it unchecked.")


def _receive(folder: Path, updates: str, env: Mapping[str, str]) -> None:
    """Raises an OdinError to refuse."""
    home.configure()
    branch = Branch(folder, env.get("ODIN_JOBS_BRANCH", "main"))
    old, new = _update(updates, branch)
    with translated(folder):
        git = pygit2.Repository(str(folder))
        if "GIT_OBJECT_DIRECTORY" in env:
            git.odb.add_disk_alternate(env["GIT_OBJECT_DIRECTORY"])
        _check(git, old, new, draft=_is_draft(env))
        if env.get("ODIN_JOBS_REMOTE"):
            _offer(git, Remote(folder, env["ODIN_JOBS_REMOTE"], branch), new, env)


def _update(updates: str, branch: Branch) -> tuple[Sha, Sha]:
    """The one update that is allowed: the branch, forward."""
    lines = [line.split(" ", 2) for line in updates.splitlines()]
    for _, new, ref in lines:
        if ref != branch.ref:
            raise InvalidInput(f"only {branch.name} can be pushed: git push origin HEAD:{branch.name}")
        if new == NO_SHA:
            raise InvalidInput(f"{branch.name} cannot be deleted")
    if len(lines) != 1:
        raise InvalidInput("push one branch at a time")
    return Sha(lines[0][0]), Sha(lines[0][1])


def _is_draft(env: Mapping[str, str]) -> bool:
    """The push options (``git push -o draft``). Raises InvalidInput for one that is unknown."""
    count = int(env.get("GIT_PUSH_OPTION_COUNT", "0"))
    options = [env.get(f"GIT_PUSH_OPTION_{number}", "") for number in range(count)]
    unknown = [option for option in options if option != DRAFT]
    if unknown:
        raise InvalidInput(f'the push option "{unknown[0][:40]}" is unknown; there is only -o {DRAFT}')
    return bool(options)


def _check(git: Git, old: Sha, new: Sha, *, draft: bool) -> None:
    known = None if old == NO_SHA else tree_of(git, old)
    if known is not None and not git.descendant_of(new, old):
        raise Conflict("others have pushed in the meantime; git pull --rebase, then push again")
    surveyor = Surveyor()
    check = TreeCheck(git, surveyor).compare(tree_of(git, new), known)
    check.raise_for_push()
    problems = [] if draft else Mains(Templates(surveyor)).problems(git, check.jobs)
    if problems:
        raise ValidationFailed(str(problems[0]), problems=problems)


def _offer(git: Git, remote: Remote, new: Sha, env: Mapping[str, str]) -> None:
    """Have the remote take the commit before it is accepted here."""
    quarantine = {name: env[name] for name in QUARANTINE if name in env}
    if not remote.publish(git, new, quarantine=quarantine):
        raise Conflict("the remote has newer commits, which are here now; git pull --rebase, then push again")


if __name__ == "__main__":
    sys.exit(main())
