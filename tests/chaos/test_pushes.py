"""Many clients push to many jobs at once, in every way that there is: nothing is lost and the history is a line."""

from __future__ import annotations

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.serving import PASSWORD, USER, Person

JOBS = 20
EACH = 10
REST, COMMANDS, GIT = 14, 4, 2  # clients; together 20
MAIN = b"tasks: [{name: a, command: 'true'}]\n"


def test_f60_two_hundred_pushes_of_twenty_clients_are_two_hundred_commits(odin):
    odin.start()
    api = odin.api()
    for number in range(JOBS):
        assert api.write(f"job{number}", {"main.yml": MAIN}).status == 200
    before = history(odin)
    clients = [by_rest] * REST + [by_command] * COMMANDS + [by_git] * GIT
    with ThreadPoolExecutor(len(clients)) as pool:
        pushed = [pool.submit(client, odin, number) for number, client in enumerate(clients)]
        acknowledged = [push for one in pushed for push in one.result()]
    after = history(odin)
    assert len(acknowledged) == len(clients) * EACH == 200
    assert len(after) - len(before) == 200
    assert after[-len(before) :] == before
    assert all(len(parents) <= 1 for _, *parents in after), "the history is a line"
    assert [shown(odin, job, file) for job, file, _, _ in acknowledged] == [text for _, _, text, _ in acknowledged]
    told = {location.rpartition("@")[2] for *_, location in acknowledged if location}
    assert len(told) == EACH * (REST + COMMANDS)
    assert told <= {commit for commit, *_ in after}


def choices(number):
    """Where a client pushes, one file each time that nobody else writes; and what."""
    rng = random.Random(number)
    for turn in range(EACH):
        yield f"job{rng.randrange(JOBS)}", f"client{number}-{turn}.txt", f"{number} {turn} {rng.random()}\n"


def by_rest(odin, number):
    """Job, file, content and what was answered, of each push."""
    done = []
    for job, file, text in choices(number):
        answer = odin.api().ask("POST", f"/v1/jobs/{job}/files/{file}", text.encode())
        assert answer.status == 200, answer.body
        done.append((job, file, text, answer.json["location"]))
    return done


def by_command(odin, number):
    done = []
    for job, file, text in choices(number):
        path = odin.folder / file
        path.write_text(text)
        done.append((job, file, text, odin.command("odin-push", job, str(path)).line))
    return done


def by_git(odin, number):
    """As people do: commit, push, and when others were first, rebase and push again."""
    person, clone = odin.person(), odin.folder / f"clone{number}"
    password = PASSWORD if number % 2 else odin.api().token
    person.git("clone", "-q", f"{odin.url}/git/jobs.git", str(clone), password=password)
    done = []
    for job, file, text in choices(number):
        (clone / job / file).write_text(text)
        person.git("add", ".", cwd=clone)
        person.git("commit", "-qm", file, cwd=clone)
        push(person, clone, password)
        done.append((job, file, text, None))
    return done


def push(person: Person, clone: Path, password: str) -> None:
    while (done := person.git("push", "-q", cwd=clone, password=password, code=None)).code:
        assert "rejected" in done.err or "failed to update ref" in done.err or "fetch first" in done.err, done.err
        person.git("pull", "-q", "--rebase", cwd=clone, password=password)


def history(odin):
    """Every commit of the branch with its parents, newest first."""
    command = ["git", "-C", str(odin.data / "jobs.git"), "rev-list", "--parents", "main"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in shown.stdout.splitlines()]


def shown(odin, job, file):
    return odin.api().ask("GET", f"/v1/jobs/{job}/files/{file}").body.decode()


def test_f60_of_two_writers_of_one_file_the_later_wins_and_both_are_in_the_history(odin):
    odin.start()
    odin.api().write("one", {"main.yml": MAIN})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: odin.api().ask("POST", "/v1/jobs/one/files/same.txt", b"%d" % n), range(24)))
    commits = [answer.json["location"].rpartition("@")[2] for answer in answers]
    assert len(set(commits)) == 24
    line = [commit for commit, *_ in history(odin)]
    newest = min(range(24), key=lambda n: line.index(commits[n]))
    assert shown(odin, "one", "same.txt") == str(newest)
    shas = [odin.api().ask("GET", f"/v1/jobs/one/files/same.txt?at={commit}").body.decode() for commit in commits]
    assert shas == [str(number) for number in range(24)]


def test_f60_a_push_that_would_rewrite_history_is_refused(odin):
    odin.start()
    odin.api().write("one", {"main.yml": MAIN})
    person, clone = odin.person(), odin.folder / "clone"
    person.git("clone", "-q", f"{odin.url}/git/jobs.git", str(clone))
    odin.api().write("two", {"main.yml": MAIN})
    before = history(odin)
    person.git("commit", "-q", "--amend", "--allow-empty", "-m", "other", cwd=clone)
    for words in (
        ["push", "--force", "-q"],
        ["push", "-q", "origin", ":main"],
        ["push", "-q", "origin", "HEAD:refs/heads/side"],
    ):
        assert person.git(*words, cwd=clone, code=1).err
    assert history(odin) == before
    assert USER in person.git("log", "-1", "--format=%an", "origin/main", cwd=clone).out
