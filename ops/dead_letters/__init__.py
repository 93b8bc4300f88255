"""Commands for dead letters: list them, show one, or replay them to their original topics."""
