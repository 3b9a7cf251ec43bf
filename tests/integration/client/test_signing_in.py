"""Which token a client uses, and what it leaves on this machine. Source: reliability.md, A-73, A-74."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from integration.cli.scripted import Request, Scripted, body, pipeline, problem, token
from odin import Client, NotAllowed, TokenFile
from odin.client.tokens import Token, TokenStore

ID = "hello-ab12cd34"
CANCEL = f"POST /v1/pipelines/{ID}/cancel"
SHOW = f"GET /v1/pipelines/{ID}"
FRESH = token("ana", lifetime_s=7200)


@pytest.fixture
def odin(server: Scripted) -> Scripted:
    server.on(CANCEL, body({"pipeline": pipeline()}))
    server.on(SHOW, body({"pipeline": pipeline()}))
    server.on("POST /v1/auth", body({"message": FRESH}))
    return server


def kept(home: Path, url: str, text: str) -> None:
    folder = home / ".config/odin"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "tokens.json").write_text(json.dumps({url: {"token": text, "username": "ana"}}))
    (folder / "tokens.json").chmod(0o600)


def sent(requests: list[Request]) -> list[str | None]:
    return [one.headers.get("authorization", "").removeprefix("Bearer ") or None for one in requests]


def test_the_token_of_the_commands_is_used(odin: Scripted, home: Path) -> None:
    mine = token("ana")
    kept(home, odin.url, mine)
    Client(odin.url).cancel(ID)
    assert sent(odin.requests) == [mine]


def test_a_given_token_goes_over_the_environments(odin: Scripted, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("ODIN_TOKEN", set_there := token("env"))
    file = home / "token"
    file.write_text(filed := token("file"))
    file.chmod(0o600)
    Client(odin.url, token=(mine := token("mine"))).cancel(ID)
    Client(odin.url, token=TokenFile(str(file))).cancel(ID)
    Client(odin.url).cancel(ID)
    assert sent(odin.requests) == [mine, filed, set_there]


def test_a_password_given_here_signs_in_and_leaves_nothing(
    odin: Scripted, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("ODIN_TOKEN", token("somebody-else"))
    client = Client(odin.url, username="ana", password="a horse")
    client.cancel(ID)
    client.cancel(ID)
    assert [one.path for one in odin.requests] == ["/v1/auth", *[CANCEL.partition(" ")[2]] * 2]
    assert sent(odin.requests) == [None, FRESH, FRESH]
    assert not (home / ".config").exists()


def test_reading_asks_for_no_password_before_the_server_does(odin: Scripted) -> None:
    asked: list[str] = []
    client = Client(odin.url, ask=lambda prompt: asked.append(prompt) or "a horse")
    client.pipeline(ID)
    assert (asked, sent(odin.requests)) == ([], [None])
    odin.on(SHOW, problem(401, "sign in"), body({"pipeline": pipeline()}))
    client.pipeline(ID)
    assert (asked, sent(odin.requests)[-1]) == (["odin password: "], FRESH)


def test_nobody_is_asked_unless_the_caller_says_how(odin: Scripted) -> None:
    with pytest.raises(NotAllowed, match="you are not signed in"):
        Client(odin.url).cancel(ID)


def test_many_threads_sign_in_once(odin: Scripted) -> None:
    client = Client(odin.url, username="ana", password="a horse")
    threads = [threading.Thread(target=client.cancel, args=(ID,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(odin.asked("POST /v1/auth")) == 1
    assert sent(odin.asked(CANCEL)) == [FRESH] * 8


def test_a_token_that_the_server_refuses_is_renewed_once(odin: Scripted, home: Path) -> None:
    kept(home, odin.url, token("ana"))
    odin.on(CANCEL, problem(401, "the token has ended"), body({"pipeline": pipeline()}))
    Client(odin.url, password="a horse", keep=True).cancel(ID)
    assert sent(odin.asked(CANCEL))[-1] == FRESH
    assert json.loads((home / ".config/odin/tokens.json").read_text())[odin.url]["token"] == FRESH


def test_the_older_clients_file_is_of_whoever_signed_in_last(home: Path) -> None:
    store, url = TokenStore(str(home)), "http://localhost:9003"
    ana, bob = Token(token("ana")), Token(token("bob"))
    store.write(url, ana, usual=True)
    store.write(url, bob, usual=True, last=False)
    assert (home / ".odin.token").read_text() == ana.text
    (home / ".config/odin/tokens.json").unlink()
    found = [store.read(url, usual=True, username=name) for name in (None, "ana", "bob")]
    assert [one and one.text for one in found] == [ana.text, ana.text, None]


def test_a_client_that_signs_in_for_a_user_leaves_the_commands_alone(odin: Scripted, home: Path) -> None:
    kept(home, odin.url, mine := token("ana"))
    odin.on("POST /v1/auth", body({"message": token("bob")}))
    Client(odin.url, username="bob", password="a horse", keep=True).cancel(ID)
    Client(odin.url).cancel(ID)
    assert sent(odin.requests)[-1] == mine


def test_a_home_that_cannot_be_written_does_not_ask_twice(odin: Scripted, home: Path, said: list[str]) -> None:
    (home / ".config").write_text("a file")
    client = Client(odin.url, ask=lambda _: "a horse", warn=said.append)
    client.cancel(ID)
    client.cancel(ID)
    assert len(odin.asked("POST /v1/auth")) == 1


def test_a_given_token_that_does_not_count_is_said_to_be_the_callers(odin: Scripted) -> None:
    odin.on(CANCEL, problem(401, "no"))
    with pytest.raises(NotAllowed, match=r"the token in Client\(token=...\) is not accepted"):
        Client(odin.url, token=token("ana")).cancel(ID)


def test_neither_a_client_nor_a_token_shows_the_secret(odin: Scripted) -> None:
    client = Client(odin.url, username="ana", password="a horse")
    shown = repr((client, client.sign_in(), client.token(), client.server))
    assert FRESH not in shown
    assert "horse" not in shown
