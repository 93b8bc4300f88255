"""Goal: a peer in Java is built once, and again when it has changed; Flink's job names only arguments that it gets.

Method: a program `mvn` that only makes the folder of the classes; the statements of the job.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench import java_peers
from bench.java_peers import JAVA_PEERS, JavaPeer
from bench.systems import FLINK, Peer, System, Task, prepared
from stack.errors import StackError
from stack.site import REPOSITORY

SQL = REPOSITORY / "bench" / "peers" / "flink" / "src" / "main" / "resources" / "order_final.sql"
PEER = JavaPeer(name="small-peer", title="Small", options=())
MAVEN = """#!/bin/sh
folder=$(dirname "$5")
mkdir -p "$folder/target/classes"
cat "$folder"/*.txt "$folder/../pom.xml" > "$folder/target/classes/built"
"""


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder with one small peer; the cache is empty, and `mvn` succeeds if it finds all the files."""
    folder, tools = tmp_path / "peers", tmp_path / "tools"
    tools.mkdir()
    (tools / "mvn").write_text(MAVEN)
    (tools / "mvn").chmod(0o700)
    (folder / "small_peer").mkdir(parents=True)
    (folder / "pom.xml").write_text("parent ")
    (folder / "small_peer" / "job.txt").write_text("job ")
    monkeypatch.setattr(java_peers, "_PEERS", folder)
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return folder


def built(peer: JavaPeer) -> list[str]:
    said: list[str] = []
    peer.build(said.append)
    return said


def classes(peer: JavaPeer, folder: Path) -> Path:
    command = peer.command(folder)
    return Path(command[command.index("-cp") + 1].partition(":")[0])


def test_a_peer_is_built_once_with_what_the_peers_have_in_common(peers: Path, tmp_path: Path) -> None:
    assert built(PEER) == ["building the Small peer with Maven"]
    assert (classes(PEER, tmp_path) / "built").read_text() == "job parent "
    assert built(PEER) == []


@pytest.mark.parametrize("changed", ["pom.xml", "small_peer/job.txt"])
def test_a_changed_peer_is_built_again(peers: Path, tmp_path: Path, changed: str) -> None:
    built(PEER)
    (peers / changed).write_text("other ")
    assert not classes(PEER, tmp_path).exists()
    assert built(PEER)
    assert "other " in (classes(PEER, tmp_path) / "built").read_text()


def test_a_failed_build_leaves_nothing_to_start(peers: Path, tmp_path: Path) -> None:
    (peers / "small_peer" / "job.txt").unlink()
    with pytest.raises(StackError):
        PEER.build(lambda line: None)
    assert not classes(PEER, tmp_path).exists()


@pytest.mark.parametrize("name", JAVA_PEERS)
def test_each_peer_in_java_has_a_project_of_its_name(name: str) -> None:
    assert (REPOSITORY / "bench" / "peers" / JAVA_PEERS[name].folder / "pom.xml").exists()


@pytest.mark.parametrize("system", FLINK, ids=lambda system: system.label)
def test_the_job_of_flink_names_only_arguments_that_it_gets(system: System, tmp_path: Path) -> None:
    task = Task(group="group", orders="orders", details="details", output="output", folder=tmp_path)
    peer = prepared(system, task, {"KAFKA_BOOTSTRAP": "127.0.0.1:9092"})
    assert isinstance(peer, Peer)
    arguments = peer.command[peer.command.index("bench.OrderJoin") + 1 :]
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    named = set(re.findall(r"'\{(.+?)\}'", SQL.read_text()))
    assert {f"--{name}" for name in named} <= given.keys()
    assert given["--commit-ms"] == str(system.commit_ms)
    assert {"orders", "details", "output", "bootstrap", "group", "mode", "mark"} == named
