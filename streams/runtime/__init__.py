"""Transactional micro-batches for Faust: a turn is one micro-batch of a partition, committed in one transaction.

The package knows no topic, table or agent by name. The path of the data through its files:

- `faust/transport.py` polls Kafka and hands over one `RecordBatch` per topic partition (Faust's consumer, partly
  replaced). `faust/schema.py` decodes each record of a batch for the agents, and never raises.
- `partition/batch.py`: an agent submits the batch to its partition: `await batch.submit(fold)`.
- `partition/queue.py` holds the batches until the partition's next turn.
- `partition/task.py`: a `PartitionTask` opens the partition and runs its turns, in numbered steps.
  `partition/lifecycle.py` replaces a task that failed with a new one.
- `partition/turn.py` folds the batches of a turn in memory. `partition/processor.py` is the interface for the
  application's decisions.
- `partition/committer.py` makes the results of a turn durable, all or nothing: in Kafka transactions or another sink.
- `state/store.py` keeps states in RocksDB, with `state/timers.py`; `state/changelog.py` restores them;
  `faust/table.py` shows them to Faust as a table.
- `faust/supervisor.py` opens and closes the partitions that the consumer group assigns to this worker.
- `faust/app.py` joins these parts into a Faust application. `web/` serves its pages and metrics.
- `testing.py`: a stand-in partition for tests without servers.
"""
