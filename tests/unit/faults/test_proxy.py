"""Goal: the proxy passes what it should, and loses an answer only after the server has done what was asked.

Method: a small HTTP server that notes what reaches it; no other server.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.proxy import LOG_PUT, Proxy

LOG = "/silver/orders/_delta_log/00000000000000000007.json"
DATA = "/silver/orders/part-0.parquet"


class Storage(ThreadingHTTPServer):
    """Notes what it was asked to put."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers every PUT with 200, on a connection that stays."""

    protocol_version = "HTTP/1.1"
    server: Storage

    def do_PUT(self) -> None:
        """Note it, then answer."""
        self.server.puts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def storage() -> Iterator[Storage]:
    """A server that runs."""
    with Storage() as storage:
        thread = threading.Thread(target=storage.serve_forever)
        thread.start()
        yield storage
        storage.shutdown()
        thread.join()


@pytest.fixture
def proxy(storage: Storage) -> Iterator[Proxy]:
    """A proxy before it."""
    with Proxy(storage.server_address[1]) as proxy:
        yield proxy


def put(proxy: Proxy, *paths: str) -> None:
    """Put a large body at each path, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    try:
        for path in paths:
            connection.request("PUT", path, body=b"x" * 200_000)
            assert connection.getresponse().read() == b""
    finally:
        connection.close()


def test_everything_passes(storage: Storage, proxy: Proxy) -> None:
    put(proxy, LOG, DATA)
    assert storage.puts == [(LOG, b"x" * 200_000), (DATA, b"x" * 200_000)]


def test_an_answer_is_lost_once_its_request_was_done(storage: Storage, proxy: Proxy) -> None:
    proxy.lose_answers(LOG_PUT)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        put(proxy, DATA, LOG)
    put(proxy, LOG)
    assert [path for path, _ in storage.puts] == [DATA, LOG, LOG]
    assert proxy.lost == [f"PUT {LOG} HTTP/1.1"]


def test_the_storage_may_be_away_from_an_answer_on(storage: Storage, proxy: Proxy) -> None:
    proxy.lose_answers(LOG_PUT, then_away=True)
    for _ in range(2):
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            put(proxy, LOG)
    assert len(storage.puts) == 1
    proxy.heal()
    put(proxy, LOG)
    assert len(storage.puts) == 2


def test_what_is_held_up_arrives(storage: Storage, proxy: Proxy) -> None:
    proxy.hold_up(LOG_PUT, 0.01)
    put(proxy, LOG)
    assert len(storage.puts) == 1


def test_it_ends_while_a_connection_is_open(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    with Proxy(storage.server_address[1]) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
        connection.request("PUT", DATA, body=b"x")
        connection.getresponse().read()
    assert caplog.records == []
    connection.close()
