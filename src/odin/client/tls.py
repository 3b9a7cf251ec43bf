"""HTTPS: certificates are always checked, TLS 1.2 at least; imported only when the scheme asks for it."""

from __future__ import annotations

import _socket
import socket
import ssl

from odin.client.address import Address
from odin.client.errors import Unreachable


def secured(plain: _socket.socket, address: Address) -> ssl.SSLSocket:
    """Raises Unreachable with the certificate's fault in words."""
    context = ssl.create_default_context()
    timeout_s = plain.gettimeout()
    sock = socket.socket(fileno=plain.detach())
    sock.settimeout(timeout_s)
    try:
        return context.wrap_socket(sock, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise Unreachable(
            f"the certificate of {address.url} is not trusted: {error.verify_message};"
            " for an authority of your own set SSL_CERT_FILE"
        ) from error
    except (ssl.SSLError, OSError) as error:
        sock.close()
        raise Unreachable(f"{address.url} does not speak TLS ({reason(error)})", remedy="scheme") from error


def reason(error: OSError) -> str:
    text = getattr(error, "reason", None) or error.strerror or str(error) or "no answer in time"
    return str(text).lower().replace("_", " ")
