"""Compares settings with the limits of the brokers, which refuse what is beyond them only when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

SHORTEST_SESSION: Final = "group.min.session.timeout.ms"
LONGEST_SESSION: Final = "group.max.session.timeout.ms"
LONGEST_TRANSACTION: Final = "transaction.max.timeout.ms"


class BeyondLimitsError(Exception):
    """Settings are beyond the limits of the brokers. The message has one line per setting."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a worker asks of the brokers, in milliseconds."""

    session_timeout_ms: int
    transaction_timeout_ms: int


async def check_limits(client: Mapping[str, Any], wanted: Wanted) -> None:
    """Check that each broker would accept what a worker asks for, as far as it shows its limits to this client.

    Raises:
        BeyondLimitsError: a setting is beyond a broker's limit.
    """
    faults = {fault: None for limits in await _limits(client) for fault in beyond(wanted, limits)}
    if faults:
        raise BeyondLimitsError("\n".join(faults))


def beyond(wanted: Wanted, limits: Mapping[str, int]) -> Sequence[str]:
    """List the settings that are beyond a broker's limits, one line each; a limit that is not known limits nothing."""
    faults = []
    session, transaction = wanted.session_timeout_ms, wanted.transaction_timeout_ms
    shortest, longest = limits.get(SHORTEST_SESSION, 0), limits.get(LONGEST_SESSION, session)
    if not shortest <= session <= longest:
        faults.append(
            f"SESSION_TIMEOUT_S: {session / 1000:g} s is not accepted by the brokers: set it to "
            f"{shortest / 1000:g} to {longest / 1000:g}, or change {SHORTEST_SESSION} or {LONGEST_SESSION} there"
        )
    if transaction > (most := limits.get(LONGEST_TRANSACTION, transaction)):
        faults.append(
            f"TRANSACTION_TIMEOUT_MS: {transaction} ms is not accepted by the brokers: set it to at most {most}, "
            f"or raise {LONGEST_TRANSACTION} there"
        )
    return faults


async def _limits(client: Mapping[str, Any]) -> list[dict[str, int]]:
    """Return the limits of each broker; those of a broker that does not show them to this user are empty."""
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        brokers = [broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]]
        names = (SHORTEST_SESSION, LONGEST_SESSION, LONGEST_TRANSACTION)
        asked = [ConfigResource(ConfigResourceType.BROKER, str(broker), dict.fromkeys(names)) for broker in brokers]
        answers = await admin.describe_configs(asked)
    finally:
        await admin.close()
    return [
        {name: int(value) for name, value, *_ in entries if value is not None}
        for answer in answers
        for code, _, _, _, entries in answer.resources
        if code == 0
    ]
