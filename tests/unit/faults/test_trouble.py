"""Goal: a sick network delays, cuts or loses bytes, but never changes or reorders them.

Method: the plain proxy in front of a server that sends back what it gets; no other server.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.faults import trouble as trouble_module
from tests.faults.tcp_proxy import TcpProxy
from tests.faults.trouble import Trouble

CONTENT = bytes(range(256)) * 100
ANSWER_S = 20.0
SILENCE_S = 0.3


class Echo(BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        """Answer until the client ends."""
        try:
            while found := self.request.recv(65_536):
                self.request.sendall(found)
        except OSError:
            return


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with TcpProxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()
        thread.join()


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        assert echo(client, b"well") == b"well"
        yield client


def connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=ANSWER_S)


def echo(client: socket.socket, content: bytes) -> bytes:
    client.sendall(content)
    found = b""
    while len(found) < len(content):
        part = client.recv(65_536)
        if not part:
            raise ConnectionResetError
        found += part
    return found


def cause(proxy: TcpProxy, trouble: Trouble) -> None:
    proxy.trouble(trouble, random.Random(1))  # noqa: S311 - no secrets


@pytest.mark.parametrize("trouble", [Trouble.LATENCY, Trouble.SLICER])
def test_bytes_arrive_whole_and_in_order(
    proxy: TcpProxy, client: socket.socket, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble_module, "LATENCY_S", 0.05)
    cause(proxy, trouble)
    began = time.monotonic()
    assert echo(client, CONTENT) == CONTENT
    assert trouble is not Trouble.LATENCY or time.monotonic() - began >= 0.1
    proxy.heal()
    assert echo(client, CONTENT) == CONTENT


def test_nothing_overtakes_delayed_bytes_when_the_network_is_well_again(
    proxy: TcpProxy, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble_module, "LATENCY_S", 0.2)
    cause(proxy, Trouble.LATENCY)
    client.sendall(b"first ")
    time.sleep(0.05)
    proxy.heal()
    assert echo(client, b"second")[:6] == b"first "


def test_a_black_hole_loses_bytes_and_its_connections_stay_lost(proxy: TcpProxy, client: socket.socket) -> None:
    cause(proxy, Trouble.BLACK_HOLE)
    client.settimeout(SILENCE_S)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            echo(client, b"lost")
        proxy.heal()
    with connected(proxy) as other:
        assert echo(other, CONTENT) == CONTENT


def test_a_reset_cuts_connections_that_are_open(proxy: TcpProxy, client: socket.socket) -> None:
    cause(proxy, Trouble.RESET)
    with pytest.raises(ConnectionError):
        echo(client, b"cut")
    proxy.heal()
    with connected(proxy) as other:
        assert echo(other, CONTENT) == CONTENT
