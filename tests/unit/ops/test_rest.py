"""Goal: whatever answers in place of Kafka Connect, its client says so in a `StackError`, soon enough.

Method: a server on a free port that gives each connection the same bytes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from ops.connector.rest import LITTLE, ConnectClient, Patience
from stack.errors import StackError

ONCE = Patience(answer_s=0.2, tries=1, rebalance_s=0.0)


def response(body: bytes, *, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, size, body)


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """Yield the URL of a server that gives this answer; None: it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as clients:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                clients.enter_context(client)
                with suppress(OSError):  # the client may have closed the connection already
                    client.recv(65_536)
                    if answer is not None:
                        client.sendall(answer)
                        client.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        response(b"<html>a proxy</html>"),
        response(b"[]"),
        response(b"{}"),
        response(b'{"connector": {}, "tasks": []}'),
        response(b'{"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}'),
        response(b'{"connector"', length=500),
        response(b"", status=b"409 Conflict"),
        b"no HTTP at all\r\n\r\n",
        None,
    ],
    ids=["html", "list", "empty", "no state", "no id", "broken off", "conflict", "no http", "silent"],
)
def test_an_answer_that_is_none_of_connect_is_a_named_error(answer: bytes | None) -> None:
    with answering(answer) as url, ConnectClient(url, ONCE) as connect, pytest.raises(StackError):
        connect.status("shop-connector")


@pytest.mark.parametrize("body", [b"{}", b'{"offsets": null}', b'{"offsets": [{"partition": 1, "offset": {}}]}'])
def test_offsets_that_are_none_of_connect_are_a_named_error(body: bytes) -> None:
    with answering(response(body)) as url, ConnectClient(url, ONCE) as connect, pytest.raises(StackError):
        connect.offsets("shop-connector")


def test_an_answer_of_connect_is_returned_as_it_is() -> None:
    body = (
        b'{"name": "s", "connector": {"state": "RUNNING", "worker_id": "w"}, "tasks": [{"id": 0, "state": "FAILED"}]}'
    )
    with answering(response(body)) as url, ConnectClient(url, ONCE) as connect:
        status = connect.status("s")
    assert status is not None
    assert status["connector"] == {"state": "RUNNING", "worker_id": "w"}
    assert status["tasks"] == [{"id": 0, "state": "FAILED"}]


def test_a_process_that_asks_again_anyway_tries_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with ConnectClient(url, LITTLE) as connect, pytest.raises(StackError, match="in 1 try;"):
        connect.status("shop-connector")
