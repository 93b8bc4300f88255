"""Serves Prometheus metrics on a web server of their own, for programs that are no Faust workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector


@contextlib.contextmanager
def exposed(address: tuple[str, int] | None, collector: Collector, *, error: type[Exception]) -> Iterator[None]:
    """Serve what a collector yields at this host and port, if there are any, until the context ends.

    Args:
        error: raised if the port cannot be used; the message says what to change.
    """
    if address is None:
        yield
        return
    host, port = address
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as fault:
        raise error(f"cannot serve metrics at {host}:{port}: {fault.strerror}; name another with --metrics") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
