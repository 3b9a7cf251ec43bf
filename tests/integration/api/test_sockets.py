"""The commands of the WebSocket tier against a real server, as a client with the usual library sees them."""

import asyncio
import contextlib
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from integration.api.streaming import until
from integration.api.talking import PATHS, REQUESTS, ask, closed_with, handshake, heard, opened
from odin.api.sockets.logs import LARGEST_REPLY, LONGEST_LINE, cut
from odin.api.sockets.start import Task, progress

RUNNING = {"plan": lambda launch: None}


@pytest.fixture
def server(listening):
    server = listening()
    server.house.push("one", "fetch", "train")
    return server


@pytest.fixture
def running(listening):
    server = listening(**RUNNING)
    server.house.push("one", "fetch", "train")
    return server


def finish(server, attempt, code=0):
    until(lambda: attempt in server.house.place.running)
    server.house.place.finish(attempt, code)


def started(server, job="one"):
    """A pipeline whose first task runs."""
    with opened(server, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": job}))
        pipeline = json.loads(ws.recv())["response"]
    until(lambda: f"{pipeline}--fetch" in server.house.place.running)
    return pipeline


@pytest.mark.parametrize("path", PATHS)
def test_ping_answers_with_its_text_and_the_further_fields(server, path):
    said = ask(server, "PING", "hello", path=path, id=7, who={"name": "x"})
    assert said.replies == [{"status": "OK", "response": "PONG hello", "id": 7, "who": {"name": "x"}}]
    assert said.code == 1000


def test_a_run_is_told_from_its_first_task_to_its_end(server):
    said = ask(server, "START", "one", "edda", id=1)
    pipeline = said.replies[0]["response"]
    lines = [reply["response"].removeprefix(f"{pipeline}--") for reply in said.replies[1:-1]]
    assert lines == ["fetch is submitted", "fetch is executed", "train is submitted", "train is executed"]
    assert said.statuses == ["OK"] * 5 + ["END"]
    assert said.last == {"status": "END", "response": pipeline, "outcome": "succeeded", "error_message": None, "id": 1}
    assert said.code == 1000
    assert {reply["id"] for reply in said.replies} == {1}
    assert server.house.queries.pipeline(pipeline).username == "edda"


def test_a_run_that_fails_says_of_what(running):
    with opened(running, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        pipeline = json.loads(ws.recv())["response"]
        finish(running, f"{pipeline}--fetch", 3)
        said = heard(ws)
    lines = [reply["response"].removeprefix(f"{pipeline}--") for reply in said.replies[:-1]]
    assert lines[0] == "fetch is submitted"
    assert lines[1].startswith("fetch is failed: ")
    assert "3" in lines[1]
    assert lines[2].startswith("train is skipped")
    assert said.last["outcome"] == "failed"


def test_each_later_attempt_of_a_task_is_told():
    task = Task("p--t", "executing", 1, None)
    known = {}
    assert list(progress(known, [task])) == ["p--t is submitted"]
    assert list(progress(known, [task])) == []
    again = Task("p--t", "executed", 2, None)
    assert list(progress(known, [again])) == ["p--t is submitted again (attempt 2)", "p--t is executed"]


def test_a_run_goes_on_when_its_client_leaves(running):
    pipeline = started(running)
    until(lambda: running.house.odin.metrics.sockets == 0)
    finish(running, f"{pipeline}--fetch")
    finish(running, f"{pipeline}--train")
    until(lambda: running.house.queries.pipeline(pipeline).outcome == "succeeded")


def test_a_run_can_be_followed_on_over_http_from_the_position_beside_a_line(running):
    with opened(running, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        pipeline = json.loads(ws.recv())["response"]
        position = json.loads(ws.recv())["position"]
    finish(running, f"{pipeline}--fetch")
    finish(running, f"{pipeline}--train")
    headers = {"Authorization": f"Bearer {running.house.token('vera')}", "Last-Event-ID": position}
    status, _, body = running.request(f"/v1/pipelines/{pipeline}/stream", **headers)
    assert status == 200
    assert b"event: end" in body
    assert b"event: pipeline\ndata: " not in body.split(b"event: task")[0]


def test_the_state_of_pipelines_is_told_with_their_tasks(server):
    pipeline = ask(server, "START", "one", "edda").last["response"]
    said = ask(server, "STATUS", pipeline[:8], "vera")
    (found,) = said.last["response"]
    assert found["pipeline_status"].keys() == {"label", "job", "version", "status", "submitted", "completed"}
    assert (found["pipeline_status"]["label"], found["pipeline_status"]["status"]) == (pipeline, "DONE")
    keys = {"task", "status", "command", "name", "image", "resource_type", "resource_id", "submitted", "completed"}
    assert [task.keys() for task in found["task_statuses"]] == [keys, keys]
    assert [(task["task"], task["status"]) for task in found["task_statuses"]] == [
        (f"{pipeline}--fetch", "executed"),
        (f"{pipeline}--train", "executed"),
    ]
    assert ask(server, "STATUS", "nothing", "vera").replies == [{"status": "OK", "response": []}]


def test_a_job_is_shown_by_its_files(server):
    server.house.push("a/b", "t", **{"notes.txt": "für".encode(), "weights.bin": b"\0\xff"})
    for name in ("a/b", "a__b"):
        files = ask(server, "SHOW", name, "vera").last["response"]
        assert files.keys() == {"main.yml", "notes.txt"}
        assert files["notes.txt"] == "für"


def test_data_and_events_are_those_of_the_rest_tier(server):
    pipeline = ask(server, "START", "one", "edda").last["response"]
    headers = {"Authorization": f"Bearer {server.house.token('vera')}"}
    for resource in (pipeline, f"{pipeline}--fetch"):
        rest = json.loads(server.request(f"/v1/resources/{resource}/data", **headers)[2])
        assert ask(server, "DATA", {"resource": resource}, "vera").last["response"] == rest
        rest = json.loads(server.request(f"/v1/resources/{resource}/events", **headers)[2])["events"]
        found = ask(server, "EVENTS", {"resource": resource, "namespace": "default"}, "vera").last["response"]
        assert [one.keys() for one in found] == [{"type", "reason", "source", "message", "timestamp"}] * len(rest)
        assert [one["message"] for one in found] == [one["message"] for one in rest]


def test_a_log_comes_in_one_reply_and_then_its_end(running):
    pipeline = started(running)
    running.house.write_log(f"{pipeline}--fetch", b"one\ntwo\nthree\n")
    request = {"resource": f"{pipeline}--fetch", "namespace": "default"}
    said = ask(running, "LOGS", request, "vera")
    assert said.statuses == ["OK", "END"]
    assert said.replies[0]["response"] == "one\ntwo\nthree\n"
    assert ask(running, "LOGS", {**request, "lines": 1}, "vera").replies[0]["response"] == "three\n"
    after = ask(running, "LOGS", {**request, "offset": 4, "container": "main"}, "vera").replies[0]["response"]
    assert after == "[odin: 4 bytes before this are left out]\ntwo\nthree\n"
    assert ask(running, "LOGS", {"resource": f"{pipeline}--train"}, "vera").replies[0]["response"] == ""


def test_a_log_too_long_for_one_message_is_cut_where_it_says(running):
    pipeline = started(running)
    running.house.write_log(f"{pipeline}--fetch", b"\x01" * (2 * LARGEST_REPLY) + b"\nend\n")
    with opened(running, name="vera") as ws:  # whose messages have at most 1 MiB
        ws.send(json.dumps({"command": "LOGS", "request": {"resource": f"{pipeline}--fetch", "lines": 5}}))
        said = heard(ws)
    assert said.statuses == ["OK", "END"]
    assert said.replies[0]["response"].endswith("\nend\n")
    assert "bytes before this are left out" in said.replies[0]["response"]


def test_a_log_is_followed_line_by_line_to_its_end(running):
    pipeline = started(running)
    task = f"{pipeline}--fetch"
    with opened(running, name="vera") as ws:
        ws.send(json.dumps({"command": "LOGS", "request": {"resource": task, "follow": True}, "id": "x"}))
        running.house.write_log(task, b"one\nt")
        assert json.loads(ws.recv()) == {"status": "OK", "response": "one", "attempt": 1, "offset": 4, "id": "x"}
        running.house.write_log(task, "wo\n\nfür\r\nrest".encode())
        finish(running, task)
        said = heard(ws)
    assert [reply["response"] for reply in said.replies] == ["two", "", "für\r", "rest", task]
    assert [reply.get("offset") for reply in said.replies] == [8, 9, 15, 19, None]
    assert said.statuses == ["OK"] * 4 + ["END"]


def test_a_followed_log_goes_on_where_a_client_was_cut_off(running):
    pipeline = started(running)
    task = f"{pipeline}--fetch"
    lines = [f"line {number}" for number in range(200)]
    running.house.write_log(task, "".join(f"{line}\n" for line in lines).encode())
    heard_lines, at = [], {}
    while len(heard_lines) < len(lines):
        with opened(running, name="vera", max_queue=None) as ws:
            ws.send(json.dumps({"command": "LOGS", "request": {"resource": task, "follow": True} | at}))
            for _ in range(min(30, len(lines) - len(heard_lines))):
                reply = json.loads(ws.recv())
                heard_lines.append(reply["response"])
                at = {"attempt": reply["attempt"], "offset": reply["offset"]}
    assert heard_lines == lines


def test_the_last_lines_are_followed_with_their_offsets(running):
    pipeline = started(running)
    running.house.write_log(f"{pipeline}--fetch", b"one\ntwo\nthree\n")
    with opened(running, name="vera") as ws:
        request = {"resource": f"{pipeline}--fetch", "follow": True, "lines": 2}
        ws.send(json.dumps({"command": "LOGS", "request": request}))
        replies = [json.loads(ws.recv()) for _ in range(2)]
    assert [(reply["response"], reply["offset"]) for reply in replies] == [("two", 8), ("three", 14)]


def test_a_line_that_is_too_long_is_cut_between_characters():
    line = ("ü" * LONGEST_LINE).encode()
    whole, rest = cut(b"x" + line + b"\nrest")
    assert b"".join(whole) == b"x" + line + b"\n"
    assert rest == b"rest"
    assert all(len(piece) <= LONGEST_LINE for piece in whole)
    assert "�" not in "".join(piece.decode(errors="replace") for piece in whole)
    whole, rest = cut(line)
    assert (b"".join(whole) + rest, len(rest) <= LONGEST_LINE) == (line, True)


def test_following_a_task_that_never_runs_ends_with_its_pipeline(running):
    pipeline = started(running)
    with opened(running, name="vera") as ws:
        request = {"resource": f"{pipeline}--train", "follow": True}
        ws.send(json.dumps({"command": "LOGS", "request": request}))
        time.sleep(0.05)
        finish(running, f"{pipeline}--fetch", 1)
        assert heard(ws).statuses == ["END"]


def test_a_cleanup_says_what_it_did(server):
    pipeline = ask(server, "START", "one", "edda").last["response"]
    said = ask(server, "CLEANUP", {"work": pipeline, "purge_db": True, "purge_fs": True}, "edda")
    assert [one["task_id"] for one in said.last["response"]] == [pipeline, f"{pipeline}--fetch", f"{pipeline}--train"]
    whole = said.last["response"][0]
    assert whole == {
        "task_id": pipeline,
        "cleaned_from_k8s": "No",
        "purged_from_db": "Yes",
        "removed_from_fs": "Yes",
    }
    assert server.house.queries.pipeline(pipeline) is None


def test_a_job_is_generated_from_a_template_and_a_context(server):
    server.house.push("tune", "t", **{"lr.txt.jinja2": b"{{ lr }}"})
    request = {"template": "tune", "context": {"lr": 0.5}}
    job = ask(server, "GENERATE", request, "edda").last
    assert job["status"] == "OK"
    assert ask(server, "SHOW", job["response"], "vera").last["response"]["lr.txt"] == "0.5"
    named = ask(server, "GENERATE", {**request, "name": "tuned"}, "edda").last
    assert named["response"] == "tuned"


BAD = [
    ("", "the body is not JSON"),
    ("{", "the body is not JSON"),
    ("[]", "a request is an object"),
    ('"PING"', "a request is an object"),
    ('{"command": "PING", "command": "START"}', "there twice"),
    ("{}", "command is missing"),
    ('{"command": 7}', "command is missing"),
    ('{"command": "STATS"}', "did you mean STATUS?"),
    ('{"command": "ping"}', "did you mean PING?"),
    ('{"command": "EXPLODE"}', "there are PING, START, STATUS"),
    ('{"command": "PING", "request": 7}', "the request of PING must be a text"),
    ('{"command": "PING", "request": "x", "token": 7}', "token must be a text"),
    ('{"command": "START"}', "the request of START, a job, must be a text"),
    ('{"command": "START", "request": " "}', "must be a text that is not empty"),
    ('{"command": "START", "request": "on"}', "did you mean one?"),
    ('{"command": "SHOW", "request": "../one"}', ""),
    ('{"command": "STATUS", "request": []}', "the request of STATUS must be a text"),
    ('{"command": "DATA", "request": "x"}', "the request must be an object"),
    ('{"command": "DATA", "request": {}}', "resource must be a text"),
    ('{"command": "DATA", "request": {"resource": "one-00000000"}}', "there is no pipeline"),
    ('{"command": "EVENTS", "request": {"resource": "x", "namespace": 7}}', "namespace must be a text"),
    ('{"command": "LOGS", "request": {"resource": "x--y", "follow": "yes"}}', "follow must be true or false"),
    ('{"command": "LOGS", "request": {"resource": "x--y", "lines": -1}}', "lines must be a whole number"),
    ('{"command": "LOGS", "request": {"resource": "x--y", "lines": true}}', "lines must be a whole number"),
    ('{"command": "LOGS", "request": {"resource": "x--y"}}', "there is no pipeline"),
    ('{"command": "CLEANUP", "request": "x"}', "the request must be an object"),
    ('{"command": "GENERATE", "request": {"template": "one", "context": []}}', "context must be an object"),
]


@pytest.mark.parametrize(("sent", "sentence"), BAD, ids=[sent[:60] for sent, _ in BAD])
def test_what_cannot_be_done_is_answered_with_a_sentence(server, sent, sentence):
    with opened(server, name="edda") as ws:
        ws.send(sent)
        said = heard(ws)
    assert said.statuses == ["ERROR"]
    assert sentence in said.last["response"]
    assert said.code == 1000


def test_the_nearest_names_come_with_what_is_not_found(running):
    pipeline = started(running)
    said = ask(running, "DATA", {"resource": f"{pipeline}--fetsh"}, "vera", id=3)
    assert said.last["id"] == 3
    assert f"did you mean {pipeline}--fetch" in said.last["response"]
    said = ask(running, "LOGS", {"resource": pipeline}, "vera")
    assert f"{pipeline}--fetch" in said.last["response"]


def test_a_request_may_come_as_bytes_and_in_pieces(server):
    for message in ([b'{"command": "PING", ', b'"request": "x"}'], ['{"command":', '"PING","request":"x"}']):
        with opened(server) as ws:
            ws.send(message)
            assert heard(ws).last["response"] == "PONG x"


def test_what_comes_after_the_request_is_dropped(running):
    pipeline = started(running)
    with opened(running, name="vera") as ws:
        ws.send(json.dumps({"command": "LOGS", "request": {"resource": f"{pipeline}--fetch", "follow": True}}))
        ws.send(json.dumps({"command": "CLEANUP", "request": {"work": pipeline}}))
        ws.send("x" * 1000)
        running.house.write_log(f"{pipeline}--fetch", b"one\n")
        assert json.loads(ws.recv())["response"] == "one"
    assert running.house.queries.pipeline(pipeline).outcome is None


def test_the_further_fields_are_bounded_and_never_take_the_place_of_the_answer(server):
    said = ask(server, "PING", "x", status="END", response="no", token_hint="t")
    assert said.replies == [{"status": "OK", "response": "PONG x", "token_hint": "t"}]
    said = ask(server, "PING", "x", fill="x" * 9000)
    assert said.statuses == ["ERROR"]
    assert "8192 bytes" in said.last["response"]


def test_an_unexpected_failure_tells_an_id_and_nothing_else(server, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("/secret/path SELECT password FROM users")

    monkeypatch.setattr(server.house.odin.jobs, "files", broken)
    said = ask(server, "SHOW", "one", "vera", id=1)
    assert said.code == 1011
    assert said.last["id"] == 1
    assert "secret" not in said.last["response"] + said.reason
    identity = said.last["response"].rpartition(" ")[2]
    assert identity in caplog.text


def test_every_command_is_asked_for_somewhere():
    from odin.api.access import COMMANDS
    from odin.api.sockets.commands import ANSWERS

    assert list(COMMANDS) == list(REQUESTS)
    assert COMMANDS.keys() == ANSWERS.keys()


def test_f07_a_stopping_server_ends_sockets_with_a_hint_to_resume(running):
    pipeline = started(running)
    task = f"{pipeline}--fetch"
    running.house.write_log(task, b"one\n")
    with contextlib.ExitStack() as stack:
        silent, *logs = [stack.enter_context(opened(running, name="vera")) for _ in range(21)]
        run = stack.enter_context(opened(running, name="edda"))
        run.send(json.dumps({"command": "START", "request": "one"}))
        other = json.loads(run.recv())["response"]
        for ws in logs:
            ws.send(json.dumps({"command": "LOGS", "request": {"resource": task, "follow": True}}))
            assert json.loads(ws.recv())["response"] == "one"
        running.stop()
        for ws in logs:
            said = heard(ws)
            assert (said.replies, said.code) == ([], 1012)
            assert said.reason == "the server is stopping; go on with: attempt 1, offset 4"
        assert heard(silent).code == 1012
        said = heard(run)
        assert said.code == 1012
        assert f"/v1/pipelines/{other}/stream, Last-Event-ID: " in said.reason
    running.thread.join(60)
    assert not running.thread.is_alive()
    assert running.house.queries.pipeline(pipeline).outcome is None


def test_f07_a_socket_that_is_asked_for_while_the_server_stops_is_told_to_come_back(house, listening):
    server = listening()
    server.house.services.stopping.set()
    status, top, _ = handshake(server)
    assert status == 503
    assert "retry-after" in top


@pytest.fixture
def waiting(running, monkeypatch):
    """Launches take their time; has an item for each that has begun."""
    commands = type(running.house.services.commands)
    launch, begun = commands.launch, []

    async def slow(*args, **options):
        begun.append(1)
        await asyncio.sleep(0.3)
        return await launch(*args, **options)

    monkeypatch.setattr(commands, "launch", slow)
    return begun


def test_f07_a_run_that_is_being_launched_is_finished_and_answered(running, waiting):
    with opened(running, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        until(lambda: waiting)
        running.stop()
        said = heard(ws)
    assert said.code == 1012
    assert said.statuses[0] == "OK"
    running.thread.join(60)
    assert running.house.queries.pipeline(said.replies[0]["response"]) is not None


def test_a_run_whose_client_leaves_while_it_is_launched_is_launched(running, waiting):
    with opened(running, name="edda") as ws:
        ws.send(json.dumps({"command": "START", "request": "one"}))
        until(lambda: waiting)
    until(lambda: running.house.queries.pipelines()[0])
    until(lambda: running.house.odin.metrics.sockets == 0)


def test_open_sockets_and_replies_are_counted(server):
    headers = {"Authorization": f"Bearer {server.house.token('vera')}"}
    with opened(server):
        until(lambda: b"odin_sockets 1\n" in server.request("/metrics", **headers)[2])
    ask(server, "PING", "x")
    until(lambda: b"odin_sockets 0\n" in server.request("/metrics", **headers)[2])
    text = server.request("/metrics", **headers)[2].decode()
    assert 'odin_socket_replies_total{command="PING",status="OK"} 1' in text
    assert 'odin_http_requests_total{method="WS",route="/v1/ws",status="101"} 2' in text


def test_no_message_is_compressed(server):
    with opened(server) as ws:  # the client offers it
        assert ws.response.headers.get("Sec-WebSocket-Extensions") is None
        ws.send(json.dumps({"command": "PING", "request": "x" * 10_000}))
        assert len(json.loads(ws.recv())["response"]) == 10_005
        with pytest.raises(ConnectionClosed):
            ws.recv()
    assert closed_with([]) is None
