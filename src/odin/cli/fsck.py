"""``odin-fsck``: compare database, files, git and cluster of a server on this machine, and repair."""

from __future__ import annotations

from odin.cli.options import Parser
from odin.cli.serve import FLAGS, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

EXAMPLES = (
    ("", "beside the running server: name every difference, change nothing"),
    ("--repair", "with the server stopped: mend what can be mended"),
    ("--json | jq -r '.differences[].kind'", "for programs"),
    ("--data /srv/odin", "elsewhere"),
)
DESCRIPTION = """\
Compare what the database says with the files, the jobs in git, the processes and the cluster, and name every
difference with its place and what --repair does about it. It reads the settings of odin-serve: run it on the
server's machine, as the server's user. What runs on this machine is never touched. Files that no row knows are moved
into lost+found, unless a cleanup should have removed them; objects in the cluster that no row knows are removed.

exit codes: 0 clean, 1 differences are left, 2 usage, 3 no data folder, 4 not the server's user (--repair),
6 a server runs (--repair), 8 a setting is refused, 9 it could not look"""
PLACES = tuple(each for each in FLAGS if each[0] in ("--data", "--executor", "--database"))


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES, environment=False)
    made.add_argument("--repair", action="store_true", help="mend it; the server must be stopped")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    for flag, metavar, meaning in PLACES:
        made.add_argument(flag, metavar=metavar, help=meaning)
    made.add_argument("--config", metavar="FILE", help="(default: odin.toml in the data folder)")
    return made


def main(options: Namespace) -> int:
    from odin.fsck.program import fsck

    return int(fsck(given(options, PLACES), config=options.config, repair=options.repair, json=options.json))
