from __future__ import annotations

import pytest

from odin.client.address import resolve
from odin.client.errors import Usage


@pytest.mark.parametrize(
    ("environ", "flags", "url"),
    [
        ({}, {}, "http://localhost:9003"),
        ({}, {"host": "127.0.0.5"}, "http://127.0.0.5:9003"),
        ({}, {"host": "::1"}, "http://[::1]:9003"),
        ({}, {"host": "[::1]:81"}, "http://[::1]:81"),
        ({}, {"host": "odin.example.com"}, "https://odin.example.com:9003"),
        ({}, {"host": "127.evil.com"}, "https://127.evil.com:9003"),
        ({}, {"host": "odin.example.com", "scheme": "http"}, "http://odin.example.com:9003"),
        ({}, {"host": "https://odin.example.com"}, "https://odin.example.com:443"),
        ({}, {"host": "HTTPS://Odin.Example.com/tools/odin/"}, "https://odin.example.com:443/tools/odin"),
        ({}, {"host": "ws://box:81"}, "http://box:81"),
        ({}, {"host": "wss://box", "port": "81"}, "https://box:81"),
        ({}, {"scheme": "wss"}, "https://localhost:9003"),
        ({"ODIN_URL": "box", "ODIN_PORT": "81", "ODIN_SCHEME": "ws"}, {}, "http://box:81"),
        ({"ODIN_URL": "http://box:81"}, {}, "http://box:81"),
        ({"ODIN_URL": "http://box:81"}, {"port": "82", "scheme": "https"}, "https://box:82"),
        ({"ODIN_URL": "http://box:81", "ODIN_PORT": "82"}, {}, "http://box:82"),
        ({"ODIN_URL": "http://box:81"}, {"host": "other"}, "https://other:9003"),
        ({"ODIN_PORT": "82", "ODIN_SCHEME": "http"}, {"host": "other"}, "http://other:82"),
        ({"ODIN_PORT": "82"}, {"host": "http://other:83"}, "http://other:83"),
        ({"ODIN_URL": ""}, {}, "http://localhost:9003"),
    ],
)
def test_flags_go_over_the_environment_and_that_over_the_defaults(
    environ: dict[str, str], flags: dict[str, str], url: str
) -> None:
    assert resolve(environ, **flags).url == url


@pytest.mark.parametrize(
    "host", ["http://me:secret@box", "box/x?y", "http://", "bo x", "box\r\nX: y", "ftp://box", "box:http"]
)
def test_what_is_no_server_is_refused(host: str) -> None:
    with pytest.raises(Usage):
        resolve({}, host=host)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "٣", "9003x"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(Usage):
        resolve({}, port=port)


def test_only_the_server_without_any_setting_is_the_usual_one() -> None:
    assert resolve({}).usual
    assert not resolve({}, port="9004").usual
    assert not resolve({}, host="127.0.0.1").usual
