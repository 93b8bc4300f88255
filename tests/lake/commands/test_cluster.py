"""Goal: the same command runs on a Spark cluster, and the jars reach its executors.

Method: a standalone master and one worker of the same Spark, on free ports of this machine.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from stack.ports import free_ports
from stack.process import Process, ProcessState, start
from tests.support.lake.testbed import LakeTestbed
from tests.support.server_waiting import until


@pytest.fixture
def master(testbed: LakeTestbed, tmp_path: Path) -> Iterator[str]:
    """URL of a cluster with one worker."""
    ports = free_ports(["master", "master-page", "worker", "worker-page"])
    url = f"spark://127.0.0.1:{ports['master']}"
    spark = Path(pyspark.__file__).parent
    # The scripts of Spark's own distribution would set these for the worker, which starts executors with them.
    own = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(spark), "SPARK_SCALA_VERSION": "2.13"}
    environment = testbed.environment | own
    java = ["java", "-Xmx256m", "-cp", f"{spark / 'jars'}/*"]
    deploy = "org.apache.spark.deploy"
    page = ["--webui-port", str(ports["master-page"])]
    processes: list[Process] = []
    log = tmp_path / "cluster.log"
    for command in (
        [*java, f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(ports["master"]), *page],
        [*java, f"{deploy}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g",
         "--port", str(ports["worker"]), "--webui-port", str(ports["worker-page"]), "--work-dir", str(tmp_path), url],
    ):  # fmt: skip
        processes.append(start(command, environment=environment, log=log, die_with_parent=True))
    until(lambda: "Registering worker" in log.read_text(), f"the worker joins: see {log}")
    yield url
    for process in processes:
        if process.state() is not ProcessState.ENDED:
            process.send(signal.SIGTERM)


@pytest.mark.nightly
def test_a_run_on_a_cluster_writes_the_same_lake(testbed: LakeTestbed, master: str) -> None:
    testbed.until_archived()
    process = testbed.process("run", "--full", "--wait", "--table", "payment_method", SPARK_MASTER=master)
    try:
        out, _ = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, out
    assert "silver/payment_method" in out
    assert "FAILED" not in out
    testbed.batch("run", "--wait")
    testbed.batch("reconcile", "--table", "dim_payment_method")
