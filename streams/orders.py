"""The application `streams.orders`: from change topics to complete orders, each exactly once.

    mysql.{dataset}.orders         ─ agent order ─────────┐
                                                          ├─ table order_state ─ order_final
    mysql.{dataset}.order_details  ─ agent order_details ─┘                      order_amended
    mysql.{dataset}.payment_method ─ look-up of the payment method's name        dead_letters

Run, in several instances: `faust -A streams.orders worker --web-port 6066`.
Look: `http://127.0.0.1:6066/stats/`, `http://127.0.0.1:6066/orders/<order id>/`.
"""

from __future__ import annotations

from pathlib import Path

from agents import completion
from agents.order import order as order_agent
from agents.order_details import order_details as order_details_agent
from config.settings import KafkaSettings, OrdersSettings, read_or_exit
from streams.model.change import change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.runtime.app import BatchApp
from streams.topics import DEAD_LETTERS, ORDER_AMENDED, ORDER_FINAL, change_topic
from tables import order_state as state_table
from tables import views
from tables.payment_methods import PaymentMethods

kafka, settings = read_or_exit(KafkaSettings, OrdersSettings)

app = BatchApp(
    settings.orders_app_id,
    bootstrap=kafka.bootstrap,
    state_dir=Path(settings.state_dir),
    batch_max_records=settings.batch_max_records,
    waiting_max_bytes=settings.waiting_max_bytes,
    transaction_timeout_ms=settings.transaction_timeout_ms,
    topic_partitions=kafka.order_partitions,
    topic_replication_factor=kafka.replication_factor,
    broker_session_timeout=settings.session_timeout_s,
    broker_heartbeat_interval=settings.session_timeout_s / 6,
    broker_rebalance_timeout=max(10.0, settings.session_timeout_s),
    web_bind=settings.web_host,
    web_host=settings.web_advertised_host,
    web_tables_enabled=settings.web_tables,
)

# What comes in.
orders = app.batch_topic(
    change_topic(settings.dataset, "orders"),
    change_decoder(OrderColumns, key_of=lambda row: row.id, epoch=settings.source_epoch),
)
order_details = app.batch_topic(
    change_topic(settings.dataset, "order_details"),
    change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id, epoch=settings.source_epoch),
)
payment_methods = PaymentMethods(
    topic=change_topic(settings.dataset, "payment_method"),
    client={"bootstrap_servers": kafka.bootstrap},
    epoch=settings.source_epoch,
)

# What is kept, and what goes out: see `agents/completion.py`.
order_state = app.batch_table(
    state_table.NAME, codec=state_table.CODEC, partitions=kafka.order_partitions, help=state_table.HELP
)
order_completion = completion.OrderCompletion(
    payment_methods=payment_methods,
    payment_method_wait_s=settings.payment_method_wait_s,
    app_id=settings.orders_app_id,
)

app.process(
    sources=[orders, order_details],
    state=order_state,
    flow=order_completion,
    outputs=[ORDER_FINAL, ORDER_AMENDED, DEAD_LETTERS],
)
app.service(payment_methods)  # type: ignore[arg-type]  # Faust takes an instance as well as a class
order = app.agent(orders, name="order")(order_agent)
details = app.agent(order_details, name="order_details")(order_details_agent)
views.declare(app, counts=order_completion.counts)
