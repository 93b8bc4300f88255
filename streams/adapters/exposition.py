"""Serves Prometheus metrics on a web server of their own, for programs that are no Faust workers."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector


def serve_metrics(address: tuple[str, int], collector: Collector) -> Callable[[], None]:
    """Serve what a collector yields at this host and port; return the function that ends the server.

    Raises:
        OSError: the port cannot be used; the message says what to change.
    """
    host, port = address
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        fault = f"cannot serve metrics at {host}:{port}: {error.strerror}; name another with --metrics"
        raise OSError(error.errno, fault) from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
