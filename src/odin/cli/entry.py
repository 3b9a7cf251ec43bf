"""Where ``odin`` and each ``odin-<word>`` begin: find the word's module, run it, make errors a line and a code."""

import io
import sys

INTERRUPTED = 130

# In the order that somebody new would meet them.
COMMANDS = {
    "serve": "start the server",
    "auth": "sign in: ask for the password, keep the token, print it",
    "ping": "is the server there, which version, how far away",
    "create": "make an empty job",
    "push": "push files of a job",
    "show": "the jobs, the files of a job, or what was rendered for a pipeline",
    "run": "launch a job and print the pipeline's id",
    "status": "a pipeline and its tasks, or the recent pipelines",
    "logs": "the log of a task, or of all tasks of a pipeline",
    "data": "what the database holds on a pipeline or task, as JSON",
    "events": "what happened to a pipeline or task, oldest first",
    "cancel": "stop a pipeline and keep everything",
    "resume": "go on from a pipeline that is over, keeping what need not run again",
    "cleanup": "stop a pipeline and remove what it made",
    "gpus": "the GPUs of the cluster and who uses them",
    "fsck": "compare database, files, git and cluster, and repair",
    "user": "list, make, change and delete users",
    "completion": "print a completion script for bash, zsh or fish",
}


def odin() -> int:
    """``odin <word> ...``, ``odin --help``, ``odin --version``."""
    word, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if word == "help" and rest:
        word, rest = rest[0], ["--help"]
    if word in COMMANDS:
        return command(word, f"odin {word}", rest)
    if word == "__complete" and rest[1:] and rest[0] in COMMANDS:  # from the scripts of odin completion
        return guarded("odin", lambda: complete(rest))
    return guarded("odin", lambda: without_command(word))


def complete(words: list[str]) -> int:
    from odin.cli import candidates

    return candidates.complete(words)


def without_command(word: str) -> int:
    if word in ("-h", "--help", "help"):
        print(overview())
        return 0
    if word in ("-V", "--version"):
        from odin import __version__

        print(f"odin {__version__}")
        return 0
    from odin.cli.nearest import suggestion

    print(f'odin: there is no command "{word!s}"{suggestion(word, COMMANDS)}; see odin --help', file=sys.stderr)
    return 2


def overview() -> str:
    lines = [f"  {word:<12}{summary}" for word, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: odin <command> [options], or odin-<command> [options]",
            "",
            "Runs machine-learning pipelines: a DAG of tasks in git, on a laptop or a cluster.",
            "",
            "commands:",
            *lines,
            "",
            "odin <command> --help shows a command's options and examples.",
            "The server is http://localhost:9003, or what --host or ODIN_URL names.",
            "",
            EXIT_CODES,
        ]
    )


EXIT_CODES = """\
exit codes: 0 done, 1 the followed pipeline failed, 2 usage, 3 not found, 4 not allowed,
5 the server cannot be reached, 6 conflict, 7 the followed pipeline was cancelled,
8 input refused, 9 the server failed or stayed overloaded, 130 interrupted"""


def command(word: str, prog: str, argv: list[str]) -> int:
    return guarded(prog, lambda: run_word(word, prog, argv))


def run_word(word: str, prog: str, argv: list[str]) -> int:
    module = __import__(f"odin.cli.{word}", fromlist=["main"])
    options = module.parser(prog).parse_args(argv)
    code: int = module.main(options)
    return code


def guarded(prog: str, action: "Action") -> int:
    """Run ``action``; whatever goes wrong ends in one line on standard error and a documented exit code."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a locale that lacks a letter shows it escaped
            sys.stdout.reconfigure(errors="backslashreplace")
        code = action()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return hung_up()
    except KeyboardInterrupt as stop:
        return interrupted(prog, stop)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except Exception as error:  # noqa: BLE001 - the border of a command: never a traceback
        from odin.cli.failures import report

        return report(prog, error)


def hung_up() -> int:
    """The reader of our output left, as ``head`` does: end quietly, also when Python flushes at its exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def interrupted(prog: str, stop: KeyboardInterrupt) -> int:
    """Ctrl-C. What it interrupts may say in the exception how to go on."""
    hint = str(stop) or f"{prog}: interrupted"
    print(f"\n{hint}", file=sys.stderr)
    return INTERRUPTED


def serve() -> int:
    return command("serve", "odin-serve", sys.argv[1:])


def auth() -> int:
    return command("auth", "odin-auth", sys.argv[1:])


def user() -> int:
    return command("user", "odin-user", sys.argv[1:])


def create() -> int:
    return command("create", "odin-create", sys.argv[1:])


def push() -> int:
    return command("push", "odin-push", sys.argv[1:])


def show() -> int:
    return command("show", "odin-show", sys.argv[1:])


def run() -> int:
    return command("run", "odin-run", sys.argv[1:])


def status() -> int:
    return command("status", "odin-status", sys.argv[1:])


def data() -> int:
    return command("data", "odin-data", sys.argv[1:])


def events() -> int:
    return command("events", "odin-events", sys.argv[1:])


def logs() -> int:
    return command("logs", "odin-logs", sys.argv[1:])


def cancel() -> int:
    return command("cancel", "odin-cancel", sys.argv[1:])


def resume() -> int:
    return command("resume", "odin-resume", sys.argv[1:])


def cleanup() -> int:
    return command("cleanup", "odin-cleanup", sys.argv[1:])


def fsck() -> int:
    return command("fsck", "odin-fsck", sys.argv[1:])


def gpus() -> int:
    return command("gpus", "odin-gpus", sys.argv[1:])


def ping() -> int:
    return command("ping", "odin-ping", sys.argv[1:])


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[], int]
