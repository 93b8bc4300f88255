"""Extensions of Faust, through which it carries batches: application, transport, tables."""
