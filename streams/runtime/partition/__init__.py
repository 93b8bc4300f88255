"""One partition at work: what is read is folded turn by turn and made durable, all or nothing."""
