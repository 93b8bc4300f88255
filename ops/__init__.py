"""Commands for operators, which work on local and remote servers alike."""
