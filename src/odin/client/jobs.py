"""Jobs and their files: reading, pushing, changing, deleting. Every write is one git commit by the user."""

from __future__ import annotations

from odin.client.calls import Calls
from odin.client.encoding import job_path, multipart, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from odin.client.job import Job, Jobs, Pushed


def path_of(job: str) -> str:
    return f"/v1/jobs/{job_path(job)}"


def file_path(job: str, name: str) -> str:
    return f"{path_of(job)}/files/{quote(name, safe=b'/')}"


def matching(version: str | None) -> dict[str, str]:
    """The header that makes a write fail if the job has changed since."""
    return {"If-Match": version} if version else {}


class JobCalls(Calls):
    """The routes under ``/v1/jobs``.

    ``if_version`` is a commit: the write is refused with Conflict when the job has changed since.
    """

    __slots__ = ()

    def jobs(self, q: str | None = None) -> Jobs:
        """The jobs whose path contains ``q``."""
        from odin.client.job import Job, Jobs

        return Jobs(Job(raw) for raw in self.server.get("/v1/jobs", q=q)["jobs"])

    def job(self, id: str, *, at: str | None = None) -> Job:
        """A job now, or at a commit (all 40 digits). Raises NotFound."""
        from odin.client.job import Job

        return Job(self.server.get(path_of(id), at=at)["job"])

    def create_job(self, name: str) -> Job:
        """An empty job. Raises Conflict when there is one of that name."""
        from odin.client.job import Job

        return Job(self.server.post("/v1/jobs", {"job": {"name": name.strip("/").replace("/", "__")}})["job"])

    def save_job(
        self,
        id: str,
        *,
        tasks: Iterable[Mapping[str, Any]] | None = None,
        configs: Mapping[str, str] | None = None,
        if_version: str | None = None,
    ) -> Job:
        """Change tasks of main.yml and text files beside it. What is not named stays, comments too."""
        from odin.client.job import Job

        body: dict[str, object] = {}
        if tasks is not None:
            body["tasks"] = [dict(task) for task in tasks]
        if configs is not None:
            body["configs"] = [{"name": name, "content": content} for name, content in configs.items()]
        return Job(self.server.put(path_of(id), body, fields=matching(if_version))["job"])

    def delete_job(self, id: str) -> None:
        """Remove a job with all its files; git keeps what was."""
        self.server.delete(path_of(id))

    def file(self, job: str, name: str, *, at: str | None = None) -> bytes:
        """The bytes of a file, now or at a commit. Raises NotFound."""
        return self.server.ask(file_path(job, name), at=at).body

    def push(
        self,
        job: str,
        files: Mapping[str, bytes | str],
        *,
        create: bool = False,
        draft: bool = False,
        if_version: str | None = None,
    ) -> Pushed:
        """Write files by their names in the job, all in one commit or none.

            >>> client.push("hello", {"main.yml": text, "train.py": open("train.py", "rb").read()}, create=True)
            <Pushed hello@3f2a9c1e...>

        ``create`` makes the job if it is new; ``draft`` skips the check. Raises Refused with every place that is
        wrong.
        """
        from odin.client.job import Pushed

        body, kind = multipart((name, encoded(content)) for name, content in files.items())
        fields = matching(if_version)
        return Pushed(self.server.upload(f"{path_of(job)}/files", body, kind, fields, create=create, draft=draft))

    def push_file(
        self,
        job: str,
        name: str,
        content: bytes | str,
        *,
        create: bool = False,
        draft: bool = False,
        if_version: str | None = None,
    ) -> Pushed:
        """Write one file; see ``push``."""
        from odin.client.job import Pushed

        place, kind, fields = file_path(job, name), "application/octet-stream", matching(if_version)
        return Pushed(self.server.upload(place, encoded(content), kind, fields, create=create, draft=draft))

    def delete_file(self, job: str, name: str, *, if_version: str | None = None) -> Pushed:
        """Remove one file, by a commit."""
        from odin.client.job import Pushed

        return Pushed(self.server.delete(file_path(job, name), fields=matching(if_version)))


def encoded(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
