"""Goal: workers and tools work with a Kafka that wants TLS and a login, and name what is wrong with either.

Method: real workers and commands on a listener with SASL_SSL and SCRAM; changes are written, and orders read, by the
test's own plain listener.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import environment_with
from stack.site import REPOSITORY
from tests.streams.orders.deployments import FedShop, stats_of
from tests.streams.secured.secured_kafka import PASSWORD, SecuredStack, secured_stack


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredStack]:
    folder = tmp_path_factory.mktemp("secured")
    with pytest.MonkeyPatch.context() as patch, secured_stack(folder, patch.setattr) as stack:
        yield stack


@pytest.fixture(scope="module")
def fed(secured: SecuredStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedShop]:
    shop = FedShop(secured.stack, tmp_path_factory.mktemp("shop"))
    yield shop
    shop.close()


def run(secured: SecuredStack, fed: FedShop, *command: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the settings of the secured listener."""
    told = {**fed.environment, **secured.settings(), **changed}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, env=environment_with(told), capture_output=True, text=True
    )


def test_two_workers_complete_orders_and_the_tools_read_them(secured: SecuredStack, fed: FedShop) -> None:
    deployment = fed.deployment(**secured.settings())
    workers = [deployment.worker(), deployment.worker()]
    fed.orders(100)
    fed.wait_emitted()
    assert sum(stats_of(worker)["outputs"] for worker in workers) == 100
    log = workers[0].log.read_text()
    assert PASSWORD not in log
    result = run(secured, fed, "stack", "topics", "check", ORDERS_APP_ID=deployment.app_id)
    assert result.returncode == 0, result.stderr
    result = run(secured, fed, "stack", "dead-letters", "list")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"KAFKA_PASSWORD": "wrong"}, "the login as shop was refused"),
        ({"KAFKA_CA_FILE": "other"}, "is not trusted: unable to get local issuer certificate"),
        ({"KAFKA_BOOTSTRAP": "EXPIRED"}, "is not trusted: certificate has expired"),
        ({"KAFKA_BOOTSTRAP": "PLAINTEXT"}, "does not speak TLS: check KAFKA_SECURITY"),
        (
            dict.fromkeys(("KAFKA_SECURITY", "KAFKA_USER", "KAFKA_PASSWORD", "KAFKA_CA_FILE"), ""),
            "check KAFKA_SECURITY",
        ),
    ],
    ids=["wrong password", "another authority", "expired", "no TLS", "TLS and nothing told"],
)
def test_a_worker_that_is_refused_says_why(
    secured: SecuredStack, fed: FedShop, changed: dict[str, str], said: str, tmp_path: Path
) -> None:
    values = {
        "other": secured.authority.other_ca_file,
        "EXPIRED": secured.settings("EXPIRED")["KAFKA_BOOTSTRAP"],
        "PLAINTEXT": fed.bootstrap,
    }
    told = {name: values.get(value, value) for name, value in changed.items()}
    worker = ("faust", "-A", "streams.orders", "worker", "--web-port", "1")
    result = run(secured, fed, *worker, STATE_DIR=str(tmp_path), **told)
    assert result.returncode != 0
    assert said in result.stderr + result.stdout
    assert "hunter2" not in result.stderr + result.stdout
