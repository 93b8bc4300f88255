"""Why no connection to Kafka comes about, in words: a client often says only that no broker answers."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from config.kafka_security import KafkaSecurity, security_of

_ANSWER_S: Final = 5.0


async def reason(brokers: str, error: KafkaError) -> str:
    """Return what keeps a client from connecting to the first broker, or the client's error if nothing does.

    Args:
        brokers: addresses as `host:port`, separated by commas.
        error: what the client has raised.
    """
    address, security = brokers.split(",")[0], security_of(brokers)
    try:
        async with asyncio.timeout(_ANSWER_S):
            await _connect(address, security)
    except ssl.SSLCertVerificationError as fault:
        return f"the certificate of {address} is not trusted: {fault.verify_message}; check KAFKA_CA_FILE"
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError):
        return f"{address} does not speak TLS: check KAFKA_SECURITY"
    except SaslAuthenticationFailed:
        return f"the login as {security.user} was refused: check KAFKA_USER, the password and KAFKA_SASL_MECHANISM"
    except TimeoutError:
        return f"{address} gives no answer: check KAFKA_BOOTSTRAP and KAFKA_SECURITY"
    except OSError as fault:
        return f"no connection to {address}: {fault.strerror or fault}"
    except KafkaError as fault:
        return f"{address} ends the connection ({fault}): check KAFKA_SECURITY"
    return str(error)


async def _connect(address: str, security: KafkaSecurity) -> None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    # The client does not say whether the connection or the login has failed, so the connection is tried alone first.
    context = security.ssl_context() if security.is_encrypted else None
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.close()
    connection = await create_conn(host, int(port), **security.aiokafka())
    connection.close()
