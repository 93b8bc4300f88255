"""Transactional micro-batches for Faust: the unit of work is what one poll returned of one partition.

Knows no topic, table or agent by name. The way of the data, in the order of the files:

- `transport.py`: polls Kafka and hands over one `RecordBatch` per topic partition (Faust's consumer, replaced in part).
- `schema.py`: decodes a batch for the agents, record by record, never raising (or takes it as it is).
- `batch.py`: `RecordBatch`, which an agent folds into its partition's state: `await batch.submit(fold)`.
- `opening.py`: one opening of a partition and its turns: the numbered steps. `partition.py`: open, run, open again.
- `turn.py`: the fold of a turn in memory. `processor.py`: what an application decides (what to publish, dead letters).
- `committer.py`: makes a turn's results durable, all or nothing: Kafka transactions; other sinks take its place.
- `store.py`, `table.py`: the state in RocksDB, seen by Faust as a table. `changelog.py`: its restoration.
- `supervisor.py`: opens and closes partitions as the consumer group assigns them, and reopens them after an error.
- `app.py`: the Faust application that wires this together. `testing.py`: a stand-in partition without servers.
"""
