"""Creation of a `TransactionalApp` from settings, shared by all applications."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust
from faust.types.auth import AuthProtocol, CredentialsT

from config.kafka_security import KafkaSecurity, security_of
from config.settings import KafkaSettings, WorkerSettings
from streams.log_file import LogFile
from streams.runtime.faust.app import TransactionalApp
from streams.topics import CHANGELOG_DELETE_RETENTION_S

HEARTBEATS_PER_SESSION = 6

REQUEST_MARGIN_S = 5.0
"""How much longer a request may take than a broker may hold back its answer, which is for a rebalance at most.

Faust waits for 90 s, and a connection that has lost a request (a frozen broker, a firewall that has forgotten it) holds
up fetching, heartbeats and metadata for as long, although other brokers or another connection would answer."""


def transactional_app(app_id: str, kafka: KafkaSettings, settings: WorkerSettings, **options: Any) -> TransactionalApp:
    """Create the application `app_id` from settings; `options` are passed on to `TransactionalApp`."""
    rebalance_timeout_s = max(10.0, settings.session_timeout_s)
    app = TransactionalApp(
        app_id,
        bootstrap=kafka.bootstrap,
        broker_credentials=_credentials(security_of(kafka.bootstrap)),
        state_dir=Path(settings.state_dir),
        batch_max_records=settings.batch_max_records,
        waiting_max_bytes=settings.waiting_max_bytes,
        record_batch_max_bytes=settings.record_batch_max_bytes,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        output_compression=kafka.output_compression,
        changelog_delete_retention_s=CHANGELOG_DELETE_RETENTION_S,
        topic_partitions=kafka.order_partitions,
        topic_replication_factor=kafka.replication_factor,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / HEARTBEATS_PER_SESSION,
        broker_rebalance_timeout=rebalance_timeout_s,
        broker_request_timeout=rebalance_timeout_s + REQUEST_MARGIN_S,
        web_token=settings.web_token,
        web_peers=settings.web_peers,
        web_bind=settings.web_host,
        web_host=settings.web_advertised_host,
        web_tables_enabled=settings.web_tables,
        **options,
    )
    if settings.log_folder is not None:
        app.start_with(LogFile(settings.log_folder))
    return app


def _credentials(security: KafkaSecurity) -> CredentialsT | None:
    """Return protocol and login in Faust's form; None for an unencrypted connection without login."""
    context = security.ssl_context() if security.is_encrypted else None
    if security.has_login:
        credentials = faust.SASLCredentials(
            username=security.user, password=security.password, mechanism=security.mechanism, ssl_context=context
        )
        credentials.protocol = AuthProtocol(security.protocol)
        return credentials
    return faust.SSLCredentials(context) if context is not None else None
