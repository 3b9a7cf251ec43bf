"""Jobs as clients see them. What was made from one commit is remembered: it cannot change."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from odin.api.answers import moment
from odin.api.problems import place
from odin.model.document import Map, Seq, load, plain
from odin.model.errors import NotFound, OdinError, TooLarge, ValidationFailed
from odin.model.fields import OPAQUE, camel
from odin.model.ids import JobPath, Sha

if TYPE_CHECKING:
    from odin.jobs.repository import Repository
    from odin.jobs.values import FileEntry, JobFolder

MAIN = "main.yml"
LARGEST_CONFIG = 1024 * 1024
REMEMBERED = 256
LARGEST_REMEMBERED = 64 * 1024  # bytes of configs

Shape = dict[str, Any]


class JobShapes:
    """Reads jobs from the repository; may be used from any thread."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, Sha], Shape] = OrderedDict()

    def all(self, query: str) -> list[Shape]:
        """Every job whose path contains ``query``, all of one commit."""
        at = self._repository.head()
        return [self._at(path, at) for path in self._repository.jobs(query, at)]

    def one(self, job: str, at: str | None = None) -> Shape:
        """The job now, or at a commit. Raises NotFound with the nearest names, InvalidInput for no full commit id."""
        return self._at(job, Sha(at) if at is not None else self._repository.head())

    def files(self, job: str, most: int) -> dict[str, str]:
        """The text files of the job now, by name, up to 1 MiB each; TooLarge if they have more bytes together."""
        folder = self._repository.folder(job, self._repository.head())
        if sum(file.size for file in folder.files if file.size <= LARGEST_CONFIG) > most:
            raise TooLarge(f"the files of {folder.path} have more than {most} bytes; read them one by one")
        contents = {file.path: self._text(folder, file) for file in folder.files}
        return {name: content for name, content in contents.items() if content is not None}

    def _at(self, job: str, at: Sha) -> Shape:
        key = (job, at)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        made = self._made(job, at)
        if sum(len(config["content"]) for config in made["configs"]) <= LARGEST_REMEMBERED:
            with self._lock:
                self._known[key] = made
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return made

    def _made(self, job: str, at: Sha) -> Shape:
        folder = self._repository.folder(job, at)
        tasks, problems = self._tasks(folder)
        shape: Shape = {
            "id": folder.path,
            "name": folder.path,
            "location": f"{folder.path}@{folder.version}",
            "creationTime": moment(folder.created_at),
            "tasks": tasks,
            "configs": list(self._configs(folder)),
            "files": [{"name": file.path, "bytes": file.size} for file in folder.files],
        }
        return shape | {"problems": problems} if problems else shape

    def _tasks(self, folder: JobFolder) -> tuple[list[Shape], list[Shape]]:
        """The tasks of main.yml as they stand there, or what keeps it from being read (a draft)."""
        try:
            root = load(self._repository.read(folder.path, MAIN, folder.version), file=f"{folder.path}/{MAIN}")
        except ValidationFailed as error:
            return [], [place(one) for one in error.problems]
        except (NotFound, TooLarge):
            return [], []
        listed = root.get("tasks") if isinstance(root, Map) else None
        entries = [node for node in listed if isinstance(node, Map)] if isinstance(listed, Seq) else []
        return [task_entry(folder.path, plain(node)) for node in entries], []

    def _configs(self, folder: JobFolder) -> list[Shape]:
        """The text files beside main.yml, up to 1 MiB each."""
        found = []
        for file in folder.files:
            if file.path == MAIN or "/" in file.path:
                continue
            content = self._text(folder, file)
            if content is not None:
                found.append({"id": f"{folder.path}--{file.path}", "name": file.path, "content": content})
        return found

    def _text(self, folder: JobFolder, file: FileEntry) -> str | None:
        """What the file holds; None for what is no text, too large, or cannot be read (a link, say)."""
        if file.size > LARGEST_CONFIG:
            return None
        try:
            return text_of(self._repository.read(folder.path, file.path, folder.version))
        except OdinError:
            return None


def task_entry(job: JobPath, entry: Shape) -> Shape:
    """One entry of ``tasks`` in camelCase, with its id; keys that are the author's stay."""
    fields = {camel(key): value if key in OPAQUE else _cameled(value) for key, value in entry.items()}
    return {"id": f"{job}--{entry.get('name', '')}"} | fields


def text_of(content: bytes) -> str | None:
    """The text, None for bytes that are none."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _cameled(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(key): _cameled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cameled(inner) for inner in value]
    return value
