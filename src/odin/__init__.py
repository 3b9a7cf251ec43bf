"""Odin runs machine-learning pipelines: a DAG of tasks in git, on a laptop or a cluster.

>>> from odin import Client
>>> print(Client().run("hello").wait())
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from odin.client.client import Client as Client
    from odin.client.errors import ClientError as ClientError
    from odin.client.errors import Conflict as Conflict
    from odin.client.errors import NotAllowed as NotAllowed
    from odin.client.errors import NotFound as NotFound
    from odin.client.errors import Problem as Problem
    from odin.client.errors import Refused as Refused
    from odin.client.errors import ServerFailed as ServerFailed
    from odin.client.errors import Unreachable as Unreachable
    from odin.client.errors import Usage as Usage
    from odin.client.job import Job as Job
    from odin.client.pipeline import Change as Change
    from odin.client.pipeline import Pipeline as Pipeline
    from odin.client.pipeline import Task as Task
    from odin.client.tokens import TokenFile as TokenFile

# Where each public name is; imported when it is first asked for, because every command imports this package.
PLACES = {
    "client": ("Client",),
    "errors": (
        "ClientError",
        "Conflict",
        "NotAllowed",
        "NotFound",
        "Problem",
        "Refused",
        "ServerFailed",
        "Unreachable",
        "Usage",
    ),
    "job": ("Job",),
    "pipeline": ("Change", "Pipeline", "Task"),
    "tokens": ("TokenFile",),
}


def __getattr__(name: str) -> object:
    for module, names in PLACES.items():
        if name in names:
            found: object = getattr(__import__(f"odin.client.{module}", fromlist=[name]), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for names in PLACES.values() for name in names)})
