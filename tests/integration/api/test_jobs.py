"""Jobs and their files over HTTP: shapes of the contract, commits by the user, names that are refused."""

import io
import threading

import pytest

GOOD = b"tasks:\n  # keep me\n  - name: fetch\n    command: python\n    num_gpus: 1\n    env: {SOME_NAME: x}\n"
BROKEN = b"tasks:\n  - name: fetch\n    comand: python\n"
TEN_MIB = 10 * 2**20


@pytest.fixture
def client(house):
    with house.client("edda") as client:
        yield client


def push(client, job, file, content, **params):
    return client.post(f"/v1/jobs/{job}/files/{file}", content=content, params=params)


def test_a_job_is_made_empty_and_shown_in_either_spelling_of_its_name(client):
    answer = client.post("/v1/jobs", json={"job": {"name": "nlp__sst2"}})
    assert answer.status_code == 200
    made = answer.json()["job"]
    assert made.keys() == {"id", "name", "location", "creationTime"}
    assert made["id"] == made["name"] == "nlp/sst2"
    for spelling in ("nlp__sst2", "nlp%2Fsst2", "nlp%2fsst2"):
        shown = client.get(f"/v1/jobs/{spelling}").json()["job"]
        assert shown["id"] == "nlp/sst2"
        assert shown["tasks"] == []
    assert client.post("/v1/jobs", json={"job": {"name": "nlp/sst2"}}).status_code == 409


def test_a_job_shows_its_tasks_in_camel_case_and_its_text_files(client):
    push(client, "one", "main.yml", GOOD, create=True)
    push(client, "one", "config.yml", b"epochs: 5\n")
    push(client, "one", "model.bin", b"\0\1\2")
    job = client.get("/v1/jobs/one").json()["job"]
    assert job["tasks"] == [
        {"id": "one--fetch", "name": "fetch", "command": "python", "numGpus": 1, "env": {"SOME_NAME": "x"}}
    ]
    assert job["configs"] == [{"id": "one--config.yml", "name": "config.yml", "content": "epochs: 5\n"}]
    assert job["creationTime"].endswith("Z")


def test_jobs_are_found_by_part_of_their_path(client):
    for name in ("nlp__sst2", "nlp__mnli", "vision"):
        client.post("/v1/jobs", json={"job": {"name": name}})
    for query, expected in (("", 3), ("nlp", 2), ("nlp__s", 1), ("nlp/s", 1), ("%", 0), ("zzz", 0)):
        assert len(client.get("/v1/jobs", params={"q": query}).json()["jobs"]) == expected


def test_an_unknown_job_or_file_is_answered_with_the_nearest_names(client):
    push(client, "digits", "main.yml", GOOD, create=True)
    for path, near in (("/v1/jobs/digit", "digits"), ("/v1/jobs/digits/files/main.yaml", "main.yml")):
        answer = client.get(path)
        assert answer.status_code == 404
        assert near in answer.json()["detail"]


def test_a_file_comes_back_as_it_was_sent_and_is_a_commit_of_the_user(client, house):
    answer = push(client, "one", "main.yml", GOOD, create="True")
    assert answer.status_code == 200
    assert answer.json() == {"location": f"one/main.yml@{house.repository.head()}", "bytes": len(GOOD)}
    again = push(client, "one", "main.yml", GOOD)
    assert again.json() == answer.json()
    read = client.get("/v1/jobs/one/files/main.yml")
    assert read.content == GOOD
    assert read.headers["content-type"] == "text/plain; charset=utf-8"
    import pygit2

    commit = pygit2.Repository(str(house.repository.path)).revparse_single("main")
    assert (commit.author.name, commit.author.email) == ("Edda Test", "edda@odin")


def test_a_file_may_lie_in_folders(client):
    push(client, "one", "main.yml", GOOD, create=True)
    assert push(client, "one", "src/deep/x y.py", b"x").status_code == 200
    assert client.get("/v1/jobs/one/files/src/deep/x%20y.py").content == b"x"
    assert client.get("/v1/jobs/one/files/src%2Fdeep%2Fx%20y.py").content == b"x"
    assert client.delete("/v1/jobs/one/files/src/deep/x%20y.py").status_code == 200
    assert client.get("/v1/jobs/one/files/src/deep/x%20y.py").status_code == 404


def test_a_broken_job_is_refused_with_every_place_unless_it_is_a_draft(client):
    push(client, "one", "main.yml", GOOD, create=True)
    answer = push(client, "one", "main.yml", BROKEN)
    assert answer.status_code == 422
    places = [(e["file"], e["line"], e["column"]) for e in answer.json()["errors"]]
    assert ("one/main.yml", 3, 5) in places
    assert push(client, "one", "main.yml", BROKEN, draft="True").status_code == 200
    assert client.get("/v1/jobs/one/files/main.yml").content == BROKEN


def test_a_draft_that_is_no_yaml_can_still_be_looked_at(client):
    push(client, "one", "main.yml", b"tasks: [", create=True, draft=True)
    job = client.get("/v1/jobs/one").json()["job"]
    assert job["tasks"] == []
    assert job["problems"][0]["file"] == "one/main.yml"


def test_many_files_are_one_commit_all_or_nothing(client, house):
    before = house.repository.head()
    files = [("files", ("main.yml", GOOD)), ("files", ("lib/a.py", b"a")), ("whatever", ("b.bin", b"\0"))]
    answer = client.post("/v1/jobs/many/files", files=files, params={"create": "true"})
    assert answer.status_code == 200, answer.text
    head = house.repository.head()
    assert answer.json()["location"] == f"many@{head}"
    assert {one["location"]: one["bytes"] for one in answer.json()["files"]} == {
        f"many/main.yml@{head}": len(GOOD), f"many/lib/a.py@{head}": 1, f"many/b.bin@{head}": 1
    }  # fmt: skip
    bad = [("f", ("c.py", b"c")), ("f", ("main.yml", BROKEN))]
    assert client.post("/v1/jobs/many/files", files=bad).status_code == 422
    assert client.get("/v1/jobs/many/files/c.py").status_code == 404
    assert before != head == house.repository.head()


@pytest.mark.parametrize(
    "files",
    [
        [("f", ("a.py", b"a")), ("f", ("a.py", b"b"))],
        [("f", ("../a.py", b"a"))],
        [("f", (".git/config", b"a"))],
        [("f", ("/etc/x", b"a"))],
    ],
    ids=["twice", "out of the folder", "git's own", "absolute"],
)
def test_a01_files_of_a_form_are_named_as_carefully_as_others(client, files):
    client.post("/v1/jobs", json={"job": {"name": "one"}})
    assert client.post("/v1/jobs/one/files", files=files).status_code == 400


def test_a_form_without_files_or_no_form_is_refused(client):
    client.post("/v1/jobs", json={"job": {"name": "one"}})
    assert client.post("/v1/jobs/one/files", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    empty = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/jobs/one/files", content=b"--x--\r\n", headers=empty).status_code == 400
    for broken in (b"", b"garbage", b"--x\r\n"):
        assert client.post("/v1/jobs/one/files", content=broken, headers=empty).status_code == 400
    nowhere = {"Content-Type": "multipart/form-data"}
    assert client.post("/v1/jobs/one/files", content=b"x", headers=nowhere).status_code == 400


def test_a_job_is_saved_without_losing_its_comments(client):
    push(client, "one", "main.yml", GOOD, create=True)
    job = client.get("/v1/jobs/one").json()["job"]
    job["tasks"][0]["command"] = "python3"
    body = {"tasks": job["tasks"], "configs": [{"name": "new.txt", "content": "hello"}]}
    for given in (body, {"job": body | {"id": "one"}}):
        answer = client.put("/v1/jobs/one", json=given)
        assert answer.status_code == 200, answer.text
    assert answer.json()["job"]["tasks"][0]["command"] == "python3"
    main = client.get("/v1/jobs/one/files/main.yml").content
    assert b"# keep me" in main
    assert b"num_gpus: 1" in main
    assert client.get("/v1/jobs/one/files/new.txt").content == b"hello"


def test_if_match_keeps_a_write_from_what_another_changed(client, house):
    push(client, "one", "main.yml", GOOD, create=True)
    old = house.repository.head()
    push(client, "one", "other.txt", b"x")
    for answer in (
        client.put("/v1/jobs/one", json={"tasks": []}, headers={"If-Match": old}),
        client.post("/v1/jobs/one/files/a.txt", content=b"a", headers={"If-Match": f'"{old}"'}),
        client.delete("/v1/jobs/one/files/other.txt", headers={"If-Match": old}),
    ):
        assert answer.status_code == 409
    assert client.put("/v1/jobs/one", json={"tasks": []}, headers={"If-Match": "x"}).status_code == 400
    assert (
        client.put("/v1/jobs/one", json={"tasks": []}, headers={"If-Match": house.repository.head()}).status_code == 200
    )


def test_a_deleted_job_is_gone(client):
    push(client, "a__b", "main.yml", GOOD, create=True)
    assert client.delete("/v1/jobs/a__b").json() == {"job": {"id": "a/b"}}
    assert client.get("/v1/jobs/a__b").status_code == 404
    assert client.delete("/v1/jobs/a__b").status_code == 404


# What a client resolves by itself ("..") is asked of a real server, byte for byte, in test_edge.py.
NAMES = [
    "...", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a%00b", "a%0ab", "a%0d%0ab", "a%1b[31m", "a%5cb",
    "%c0%ae%c0%ae", "%ff", "a%e2%80%aeb", "-a", "--upload-pack=x", "a.", ".a", "_a", "a_", "a__", "__a", "a____b", "a b",
    "a%20", "%20a", "~", "a~1", "a;b", "a%7Cb", "$(x)", "`x`", "*", "a%3Ab", "git~1", ".git", ".GIT", "%2egit", "..%252f",
    "a" * 256, "%ED%A0%80", "a%EF%BC%8Fb", "%EF%BC%8E%EF%BC%8E", "ä", "x" * 5000,
]  # fmt: skip
FILES = [
    "a//b", "/etc/passwd", "%2e%2e/x", "..%2fx", "a%2f..%2f..%2fx", "a%00", "a%0a", "a%1b", "a%5c..%5cb",
    ".git/config", ".GIT/config", ".git%20/config", "git~1/config", ".g%E2%80%8Cit/config", "%2egit/hooks/x", "a/.git/x", "%ff",
    "%c0%af", "-x", "a/-x", "x.", "x%20", "a%e2%80%aeb", "a" * 256, "a/" * 40 + "x", "%cc%88a" * 3 + "a%cc%88",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a01_a_hostile_name_of_a_job_is_refused_on_every_route(client, house, name):
    before = house.repository.head()
    asked = [
        client.get(f"/v1/jobs/{name}"),
        client.put(f"/v1/jobs/{name}", json={"tasks": []}),
        client.delete(f"/v1/jobs/{name}"),
        client.get(f"/v1/jobs/{name}/files/main.yml"),
        client.post(f"/v1/jobs/{name}/files/main.yml?create=true", content=GOOD),
        client.delete(f"/v1/jobs/{name}/files/main.yml"),
        client.post(f"/v1/jobs/{name}/files?create=true", files={"f": ("main.yml", GOOD)}),
    ]
    assert {answer.status_code for answer in asked} <= {400, 404, 405}
    assert all(str(house.data) not in answer.text for answer in asked)
    assert house.repository.head() == before


@pytest.mark.parametrize("file", FILES)
def test_a01_a_hostile_name_of_a_file_is_refused_on_every_route(client, house, file):
    push(client, "one", "main.yml", GOOD, create=True)
    before = house.repository.head()
    asked = [
        client.get(f"/v1/jobs/one/files/{file}"),
        push(client, "one", file, b"x"),
        client.delete(f"/v1/jobs/one/files/{file}"),
    ]
    assert {answer.status_code for answer in asked} <= {400, 404, 405}
    assert all(str(house.data) not in answer.text for answer in asked)
    assert house.repository.head() == before


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "/a", "a//b", "a\\b", "a\0", "a\n", "", "a" * 300, "a/" * 9 + "a", ".git", "a__", "ä"]
)
def test_a01_a_hostile_name_in_a_body_is_refused(client, name):
    assert client.post("/v1/jobs", json={"job": {"name": name}}).status_code == 400
    assert client.post("/v1/pipelines", json={"pipeline": {"job": name}}).status_code in (400, 404)


NAUGHTY = [
    "CON",
    "nul",
    "x" * 200,
    "'; DROP TABLE users; --",
    "<script>alert(1)</script>.txt",
    "%s%n",
    "${IFS}",
    "a&b=c",
    "🐎.txt",
    "ﷺ.txt",
]


@pytest.mark.parametrize("file", NAUGHTY)
def test_a03_an_odd_but_harmless_name_makes_the_round_trip(client, file):
    from urllib.parse import quote

    push(client, "one", "main.yml", GOOD, create=True)
    assert push(client, "one", quote(file, safe=""), b"x").status_code == 200
    assert client.get(f"/v1/jobs/one/files/{quote(file, safe='')}").content == b"x"
    assert client.delete(f"/v1/jobs/one/files/{quote(file, safe='')}").status_code == 200


TYPES = {
    "page.html": b"<script>alert(1)</script>", "page.xhtml": b"<html/>", "image.svg": b"<svg onload='alert(1)'/>", "a.js": b"alert(1)",
    "a.css": b"*{}", "a.xml": b"<?xml version='1.0'?><x/>", "a.json": b"{}", "a.md": b"# x", "a.yml": b"a: 1", "a.png": b"\x89PNG\r\n\0",
    "a.pdf": b"%PDF-1.7\n\0", "a.swf": b"FWS\0", "a.wasm": b"\0asm", "a.mht": b"MIME-Version: 1.0", "none": b"\xff\xfe<\0s\0",
}  # fmt: skip


@pytest.mark.parametrize("file", TYPES)
def test_a64_no_pushed_file_can_run_in_a_browser(client, file):
    push(client, "one", "main.yml", GOOD, create=True)
    push(client, "one", file, TYPES[file])
    answer = client.get(f"/v1/jobs/one/files/{file}")
    assert answer.headers["content-type"] in ("text/plain; charset=utf-8", "application/octet-stream")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    if answer.headers["content-type"] == "application/octet-stream":
        assert answer.headers["content-disposition"].startswith("attachment")


def test_a80_a_file_may_have_ten_mebibytes_and_no_byte_more(client):
    push(client, "one", "main.yml", GOOD, create=True)
    assert push(client, "one", "big.bin", b"\0" * TEN_MIB).status_code == 200
    assert push(client, "one", "big.bin", b"\0" * (TEN_MIB + 1)).status_code == 413
    form = {"f": ("big2.bin", io.BytesIO(b"\0" * (TEN_MIB + 1)))}
    assert client.post("/v1/jobs/one/files", files=form).status_code == 413


def test_a80_a_json_body_may_have_one_mebibyte_and_no_byte_more(client):
    body = b'{"job": {"name": "one"}, "x": ""}'
    padded = body[:-2] + b"x" * (2**20 - len(body)) + b'"}'
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/jobs", content=padded, headers=headers).status_code == 200
    assert client.post("/v1/jobs", content=padded[:-2] + b'x"}', headers=headers).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"{", b"null", b"[]", b'"x"', b"1e999", b'{"job": NaN}', b'{"job": {"name": "a", "name": "b"}}', b'{"job": {"name": "\\ud800"}}',
     b"[" * 10_000, b"9" * 5_000, b"\xff", b"", b" "],
)  # fmt: skip
def test_a22_a_body_that_makes_no_sense_is_refused_everywhere(client, body):
    headers = {"Content-Type": "application/json"}
    client.post("/v1/jobs", json={"job": {"name": "one"}})
    for method, path in (
        ("POST", "/v1/jobs"),
        ("PUT", "/v1/jobs/one"),
        ("POST", "/v1/pipelines"),
        ("POST", "/v1/pipelines/x/rerun"),
    ):
        answer = client.request(method, path, content=body, headers=headers)
        assert answer.status_code in (400, 422), (path, answer.text)
        assert answer.json()["status"] == answer.status_code
        assert "message" not in answer.json()


@pytest.mark.parametrize("value", [None, 1, True, "x", [1], ["x"], [[]], [{"name": 1}], {"name": "x"}, [None]])
def test_a22_tasks_and_configs_that_are_none_are_refused(client, value):
    client.post("/v1/jobs", json={"job": {"name": "one"}})
    for field in ("tasks", "configs"):
        answer = client.put("/v1/jobs/one", json={field: value})
        assert answer.status_code in (400, 422) or (field == "tasks" and value is None)


def test_f70_a_repeated_push_with_the_same_key_is_one_commit_however_it_is_encoded(client, house):
    files = {"f": ("main.yml", GOOD)}
    headers = {"Idempotency-Key": "push-1"}
    answers = [client.post("/v1/jobs/one/files?create=true", files=files, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    other = client.post("/v1/jobs/one/files?create=true", files={"f": ("main.yml", BROKEN)}, headers=headers)
    assert other.status_code == 422


def test_f70_a_repeated_creation_is_no_conflict(client):
    headers = {"Idempotency-Key": "create-1"}
    first, second = (client.post("/v1/jobs", json={"job": {"name": "one"}}, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()


def test_writers_at_once_lose_nothing(client, house):
    client.post("/v1/jobs", json={"job": {"name": "one"}})
    statuses = []

    def write(number):
        statuses.append(push(client, "one", f"f{number}.txt", b"x").status_code)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 12
    assert len(house.repository.folder("one").files) == 13
