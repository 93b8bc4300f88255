"""The application `streams.orders`: joins orders with product lines, and publishes each complete order exactly once.

    mysql.{dataset}.orders         ─ agent order ─────────┐                      order_final
                                                          ├─ table order_state ─ order_amended
    mysql.{dataset}.order_details  ─ agent order_details ─┘                      order_incomplete
    mysql.{dataset}.payment_method ─ names and banks of payment methods          dead_letters
    source_epochs                  ─ whether a change of another server may pass

    Redis: locks on complete orders (the guard), and a cache of order rows for other services

Run one or more workers: `faust -A streams.orders worker --web-port 6066`.
Web pages: `http://127.0.0.1:6066/` for people; `/stats/`, `/orders/incomplete`, `/orders/<order id>/`, `/metrics`.
"""

from __future__ import annotations

from agents.completion import OrderCompletion
from agents.guard import locks
from agents.guard.guard import LockGuard, NoGuard, WhenAway
from agents.order import order as order_agent
from agents.order_details import order_details as order_details_agent
from agents.order_log import OrderLog
from agents.order_timers import OrderTimers
from config.dataset import orders_or_exit
from config.kafka_security import aiokafka_client
from config.settings import KafkaSettings, OrdersSettings, RedisSettings
from config.settings_group import read_or_exit
from streams.adapters.redis import RedisClient
from streams.model.change import change_decoder
from streams.model.order import OrderColumns, OrderDetailColumns
from streams.runtime.partition.origins import OriginRule
from streams.runtime.web.pages import declare_pages
from streams.source_parts import source_parts
from streams.topics import (
    APPENDED_HEADERS,
    DEAD_LETTERS,
    ORDER_AMENDED,
    ORDER_FINAL,
    ORDER_INCOMPLETE,
    change_topic,
)
from streams.worker import transactional_app
from tables import order_cache, order_state
from tables.order_events import OrderEvents
from tables.payment_methods import PaymentMethods
from tables.source_epochs import begun_epoch
from tables.views import incomplete
from tables.views import orders as views
from tables.views.incomplete import IncompleteCollector
from tables.views.people import waiting_orders
from tables.views.redis_memory import RedisMemory, RedisMemoryCollector
from tables.views.rules import ORDER_RULES

kafka, redis, settings = read_or_exit(KafkaSettings, RedisSettings, OrdersSettings)
orders_or_exit(settings.dataset)

app = transactional_app(
    settings.orders_app_id,
    kafka,
    settings,
    shared_transactions=settings.shared_transactions,
    standby_replicas=settings.standby_replicas,
)

# Input.
orders = app.batch_topic(
    change_topic(settings.dataset, "orders"),
    change_decoder(OrderColumns, key_of=lambda row: row.id),
)
order_details = app.batch_topic(
    change_topic(settings.dataset, "order_details"),
    change_decoder(OrderDetailColumns, key_of=lambda row: row.order_id),
)
payment_methods = PaymentMethods(
    topic=change_topic(settings.dataset, "payment_method"),
    client=aiokafka_client(kafka.bootstrap),
)

# State.
state = app.transactional_table(
    order_state.NAME,
    codec=order_state.FORGETTING_CODEC if settings.order_retention_s else order_state.CODEC,
    memory_bytes=settings.state_memory_bytes,
    partitions=kafka.order_partitions,
    help=order_state.HELP,
)

# The lock guard against duplicates from other deployments, and the cache for other services.
guard = (
    LockGuard(
        RedisClient(redis.url, database=locks.DATABASE),
        retention_s=settings.lock_retention_s,
        when_away=WhenAway(settings.guard_when_away),
    )
    if settings.guard
    else NoGuard()
)
cache = (
    order_cache.OrderCache(RedisClient(redis.url, database=order_cache.DATABASE), ttl_s=settings.order_cache_ttl_s)
    if settings.order_cache
    else order_cache.NoCache()
)

events = OrderEvents()

# Output: see `agents/completion.py`.
completion = OrderCompletion(
    payment_methods=payment_methods,
    payment_method_wait_s=settings.payment_method_wait_s,
    guard=guard,
    cache=cache,
    timers=OrderTimers(incomplete_after_s=settings.incomplete_after_s, retention_s=settings.order_retention_s),
    order_log=OrderLog(enabled=settings.order_log),
    app_id=settings.orders_app_id,
    events=events,
)
app.pipeline(
    order_state.NAME,
    sources=[orders, order_details],
    state=state,
    processor=completion,
    outputs=[ORDER_FINAL, ORDER_AMENDED, ORDER_INCOMPLETE, DEAD_LETTERS],
    origin_rule=OriginRule(
        begun_epoch=lambda: begun_epoch(app.kafka_client, settings.dataset),
        servers=settings.source_servers,
        foreign_headers=APPENDED_HEADERS,
    ),
)
more = source_parts(app, redis, settings, figures_prefix=settings.figures_prefix)
memory = RedisMemory(RedisClient(redis.url, database=locks.DATABASE))
app.start_with(payment_methods, guard, cache, memory)
order = app.agent(orders, name="order")(order_agent)
details = app.agent(order_details, name="order_details")(order_details_agent)
views.declare(app, state, events)
declare_pages(
    app,
    counted={"orders": completion, "guard": guard, "cache": cache, "payment_methods": payment_methods},
    figures=lambda: {**incomplete.figures(app), **{name: more[name].figures() for name in ("lake", "connector")}},
    collectors=[IncompleteCollector(app), RedisMemoryCollector(memory)],
    servers={"guard": "Redis", "cache": "Redis"},
    rules=ORDER_RULES,
    published=lambda: completion.counts["completed"],
    parts={"waiting": waiting_orders(app, state), **more},
)
