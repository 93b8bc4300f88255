"""Read the committed records of a topic, with Kafka's errors as messages for an operator."""

from __future__ import annotations

from stack.errors import StackError
from streams.adapters.committed_reader import CommittedReader, TopicError, Visit


class TopicReader(CommittedReader):
    """A reader that reads a topic in steps: each call visits the records that arrived since the previous call."""

    def visit_to_end(self, visit: Visit) -> None:
        """Call `visit` with the key and value of each record since the previous call, one record at a time.

        Raises:
            StackError: Kafka does not answer, or the topic does not exist.
        """
        try:
            super().visit_to_end(visit)
        except TopicError as error:
            raise StackError(str(error)) from None

    def skip_to_end(self) -> None:
        """Let the next call of `visit_to_end` begin at the current end of each partition.

        Raises:
            StackError: Kafka does not answer, or the topic does not exist.
        """
        try:
            super().skip_to_end()
        except TopicError as error:
            raise StackError(str(error)) from None
