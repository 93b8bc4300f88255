"""A Faust runtime that processes each partition in transactional micro-batches, called turns.

The package contains no names of topics, tables or agents. Data passes through its modules as follows:

- `faust/transport.py` replaces part of Faust's consumer: it polls Kafka and delivers the records of each topic
  partition as `RecordBatch`es. `faust/schema.py` decodes the records for the agents, and reports unreadable records
  instead of raising an error.
- `partition/batch.py`: an agent submits each batch to its partition with `await batch.submit(fold)`.
- `partition/queue.py` holds the batches until the partition's next turn.
- `partition/task.py`: a `PartitionTask` opens a partition and runs its turns, step by step.
  `partition/lifecycle.py` replaces a failed task with a new one.
- `partition/turn.py` applies the changes of a turn's batches to states in memory. `partition/processor.py` is the
  interface to the application's logic.
- `partition/committer.py` commits the results of a turn atomically, in a Kafka transaction or to another sink.
- `state/store.py` keeps states in RocksDB, and `state/timers.py` keeps their timers. `state/changelog.py` restores a
  store from its changelog topic. `faust/table.py` presents the stores to Faust as a table.
- `faust/supervisor.py` opens and closes the partitions that the consumer group assigns to this worker.
  `faust/source_offsets.py` watches how far they are behind.
- `faust/app.py` combines these parts into a Faust application. `web/` has its pages, `faust/web_server.py` serves them
  within limits, and `faust/router.py` forwards a request to the worker that owns its key.
- `testing.py` provides an in-memory partition for tests without servers.
"""
