"""The application `streams.lookups`: copies customers and payment methods to Redis for other services.

    mysql.{dataset}.customers       ─ agent customers ───────┐
                                                             ├─ Redis, database 0: customer:{id}, payment_method:{id}
    mysql.{dataset}.payment_method  ─ agent payment_methods ─┘
                                                               dead_letters

Each value is a JSON object with all columns of the source row. The copies are eventually consistent: a reader may see
a change slightly late. If Redis loses its data, the copies are rebuilt from the beginning of the topics.

Run: `faust -A streams.lookups worker --web-port 6070`. Web pages: `/stats/`, `/metrics`.
"""

from __future__ import annotations

from agents.customers import customers as customers_agent
from agents.lookups import LookupProcessor
from agents.payment_methods import payment_methods as payment_methods_agent
from config.dataset import orders_or_exit
from config.settings import KafkaSettings, LookupsSettings, RedisSettings
from config.settings_group import read_or_exit
from streams.adapters.redis import RedisClient
from streams.model.change import change_decoder
from streams.model.lookup import CUSTOMER, PAYMENT_METHOD, Columns, id_of
from streams.runtime.web.pages import declare_pages
from streams.topics import change_topic
from streams.worker import transactional_app
from tables import lookups
from tables.lookups import LookupSink

kafka, redis, settings = read_or_exit(KafkaSettings, RedisSettings, LookupsSettings)
orders_or_exit(settings.dataset)

app = transactional_app(settings.lookups_app_id, kafka, settings)
sink = LookupSink(RedisClient(redis.url, database=lookups.DATABASE), app)
processor = LookupProcessor(settings.lookups_app_id)

# Input: the two topics are partitioned independently, so each one has its own pipeline.
customers_topic, payment_methods_topic = (
    app.batch_topic(change_topic(settings.dataset, table), change_decoder(Columns, key_of=id_of))
    for table in ("customers", "payment_method")
)
for name, topic in ((CUSTOMER, customers_topic), (PAYMENT_METHOD, payment_methods_topic)):
    app.pipeline(name, sources=[topic], processor=processor, new_committer=sink.committers(topic.get_topic_name()))

app.start_with(sink)
customers = app.agent(customers_topic, name="customers")(customers_agent)
payment_methods = app.agent(payment_methods_topic, name="payment_methods")(payment_methods_agent)
declare_pages(app, counted={"lookups": processor})
