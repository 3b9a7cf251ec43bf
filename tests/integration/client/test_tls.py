"""HTTPS with a certificate that is trusted, and with those that are not. Source: reliability.md, A-72."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from integration.cli.scripted import Scripted, body, pipeline, token
from odin import Client, Unreachable

ID = "hello-ab12cd34"
MAKE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext"


@pytest.fixture
def authority(tmp_path: Path, server: Scripted) -> Path:
    """The scripted server speaks TLS as ``localhost``; this is what trusts it."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = "subjectAltName=DNS:localhost"
    subprocess.run(
        [*MAKE.split(), names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    return certificate


def test_a72_a_trusted_certificate_is_taken(server: Scripted, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    client = Client(f"https://localhost:{server.server_port}", token=token("ana"))
    assert client.pipeline(ID).outcome == "succeeded"


def test_a72_an_unknown_or_another_hosts_certificate_is_refused(
    server: Scripted, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match="is not trusted: self-signed certificate"):
        Client(f"https://localhost:{server.server_port}", token=token("ana")).pipeline(ID)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(Unreachable, match=r"is not trusted: .*127\.0\.0\.1"):
        Client(f"https://127.0.0.1:{server.server_port}", token=token("ana")).pipeline(ID)
    assert server.requests == []


def test_a72_a_server_without_tls_gets_no_request(server: Scripted) -> None:
    with pytest.raises(Unreachable, match="does not speak TLS"):
        Client(f"https://127.0.0.1:{server.server_port}", token=token("ana")).pipeline(ID)
    assert server.requests == []
