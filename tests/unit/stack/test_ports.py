"""Ports are read strictly, never given twice, and free ones are reserved against other processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from stack import ports
from stack.errors import StackError
from stack.owners import describe_owner
from stack.ports import DEFAULT_PORTS, HOST, assert_distinct, free_ports, is_free, parse_ports
from stack.site import REPOSITORY


def test_ports_are_read_by_server() -> None:
    assert parse_ports("kafka=9092, redis=6379") == {"kafka": 9092, "redis": 6379}
    assert parse_ports("") == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kafak=9092", "kafak"),
        ("kafka", "kafka"),
        ("kafka=", "kafka"),
        ("kafka=0", "'0'"),
        ("kafka=65536", "'65536'"),
        ("kafka=-1", "'-1'"),
        ("kafka=٣", "'٣'"),
        ("kafka=1,kafka=2", "twice"),
        ("kafka=7000,redis=7000", "7000"),
    ],
)
def test_a_wrong_port_is_refused_and_named(text: str, named: str) -> None:
    with pytest.raises(StackError, match=named) as raised:
        parse_ports(text)
    assert raised.value.exit_code == 2


def test_the_default_ports_differ_and_no_outgoing_connection_can_take_them() -> None:
    assert_distinct(DEFAULT_PORTS)
    assert max(DEFAULT_PORTS.values()) < 32768


def test_free_ports_differ_and_nobody_listens_on_them() -> None:
    ports = free_ports(["a", "b", "c"])
    assert len(set(ports.values())) == len(ports)
    assert all(is_free(port) for port in ports.values())


def test_a_port_that_another_process_reserved_is_not_given_until_that_process_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [port] = free_ports(["a"]).values()
    monkeypatch.setattr(ports, "_FREE_RANGE", range(port, port + 1))
    os.close(ports._reserved.pop(port))
    program = f"from stack import ports; ports._FREE_RANGE = range({port}, {port + 1}); ports.free_ports(['a']); "
    command = [sys.executable, "-c", program + "print('reserved', flush=True); input()"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "reserved\n"
        with pytest.raises(StackError):
            free_ports(["a"])
        other.stdin.close()
    assert free_ports(["a"]) == {"a": port}


def test_a_port_with_a_listener_is_not_free_and_its_owner_is_named() -> None:
    with contextlib.closing(socket.create_server((HOST, 0))) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        assert f"process {os.getpid()}" in describe_owner(port)
    assert is_free(port)
    assert describe_owner(port) == ""


def test_the_owner_of_a_port_is_found_although_other_files_close_meanwhile() -> None:
    lower = os.open(os.devnull, os.O_RDONLY)  # its number is then used for listing the open files, and closed again
    with contextlib.closing(socket.create_server((HOST, 0))) as listener:
        os.close(lower)
        assert f"(process {os.getpid()})" in describe_owner(listener.getsockname()[1])
