"""Text from elsewhere cannot act on the terminal. Source: reliability.md, A-75."""

from __future__ import annotations

import itertools
import json
import re

import pexpect

from integration.cli.scripted import Scripted, Shell, body, pipeline, problem, task, token

ID = "hello-ab12cd34"
BELL, ESC, STRING_END = "\x07", "\x1b", "\x1b\\"
OWN = re.compile(r"\x1b\[[0-9;]*m")  # the colours that the commands themselves write


def attacks() -> list[str]:
    """Sequences that retitle windows, write the clipboard, report, move, switch modes, link, hide or reorder."""
    controls = [chr(code) for code in range(0x20) if chr(code) not in "\t\n\r"] + [
        chr(code) for code in range(0x7F, 0xA0)
    ]
    osc = [
        f"{ESC}]{number};x{end}"
        for number, end in itertools.product(
            (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 17, 19, 50, 52, 104, 110, 133, 633, 777, 1337),
            (BELL, STRING_END),
        )
    ]
    csi = [
        f"{ESC}[{numbers}{final}"
        for numbers, final in itertools.product(("", "6", "?1049"), "ABCDHJKLMPSTXcfghilnpqrstu")
    ]
    others = [f"{ESC}{sign}" for sign in "()#*+-./6789=>cDEFHMNOPVWXZ^_|}~"] + [f"\x9b{sign}" for sign in "6ncm2J"]
    strings = [f"{ESC}{opener}q{STRING_END}" for opener in "PX^_"] + [f"{ESC}[?{mode}h" for mode in range(1, 60)]
    bidi = [
        chr(code)
        for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF)
    ]
    return controls + osc + csi + others + strings + bidi


def shown(shell: Shell, command: str, *arguments: str) -> str:
    """What a terminal gets to interpret."""
    argv = shell.argv(command, *arguments)
    output, code = pexpect.run(" ".join(argv), env=shell.environ(), withexitstatus=True, timeout=60, encoding="utf-8")
    assert code is not None, f"it waits for something: {output[-200:]!r}"
    return str(output)


def harmless(output: str) -> bool:
    left = OWN.sub("", output).replace("\r\n", "").replace("\t", "")
    return all(sign.isprintable() for sign in left)


def test_a75_a_log_cannot_act_on_the_terminal(server: Scripted, shell: Shell) -> None:
    assert len(attacks()) >= 300
    log = "".join(f"a{attack}b\n" for attack in attacks())
    server.on(f"GET /v1/resources/{ID}--train/logs", body({"logs": log}))
    output = shown(shell, "odin-logs", f"{ID}--train")
    assert harmless(output)
    assert "\\x1b]52;x\\x07" in output
    assert output.count("\r\n") == len(attacks())


def test_a75_names_messages_and_errors_cannot_either(server: Scripted, shell: Shell) -> None:
    shell.keep(server.url, token("ana"))
    bad = "".join(attacks()) + "\r\n"
    happened = {"timestamp": None, "eventType": bad, "reason": bad, "source": bad, "message": bad}
    evil = pipeline(
        "failed", job=bad, user=bad, errorMessage=bad, warnings=[bad], tasks=[task("train", "failed", reason=bad)]
    )
    server.on(f"GET /v1/resources/{ID}/events", body({"events": [happened]}))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": evil}))
    tried = {"number": 1, "state": bad, "node": bad, "message": bad}
    server.on(f"GET /v1/resources/{ID}--train/data", body({"success": True, "jobs": {"attempts": [tried]}}))
    step = {"name": bad, "action": bad, "why": bad}
    plan = {"pipeline": bad, "job": bad, "version": bad, "tasks": [step], "gone": [bad]}
    server.on(f"POST /v1/pipelines/{ID}/rerun", body({"plan": plan, "warnings": [bad]}))
    server.on("GET /v1/pipelines?limit=20", body({"pipelines": [evil]}))
    server.on("GET /v1/nodes", problem(422, bad, errors=[{"message": bad, "file": bad, "line": 1, "column": 1}]))
    server.on("GET /v1/jobs", body({"jobs": [{"id": bad}]}))
    for command in (
        ["odin-events", ID],
        ["odin-status", ID],
        ["odin-status", f"{ID}--train"],
        ["odin-resume", ID, "--dry-run"],
        ["odin-status"],
        ["odin-gpus"],
        ["odin-show"],
    ):
        assert harmless(shown(shell, *command)), command


def test_a75_json_is_ascii(server: Scripted, shell: Shell) -> None:
    answer = {"pipeline": pipeline(errorMessage="".join(attacks()))}
    server.on(f"GET /v1/pipelines/{ID}", body(answer))
    done = shell.run("odin-status", ID, "--json")
    assert json.loads(done.stdout) == answer
    assert done.stdout.replace("\n", "").isascii()
    assert done.stdout.replace("\n", "").isprintable()


def test_a75_colours_of_a_log_reach_a_terminal_and_nothing_else(server: Scripted, shell: Shell) -> None:
    server.on(f"GET /v1/resources/{ID}--train/logs", body({"logs": "\x1b[1;38;5;196mred\x1b[0m\n"}))
    assert "\x1b[1;38;5;196mred\x1b[0m" in shown(shell, "odin-logs", f"{ID}--train")
    assert shell.run("odin-logs", f"{ID}--train").stdout == "red\n"
    assert "\x1b" not in shown(shell, "odin-logs", f"{ID}--train", "--no-color")
