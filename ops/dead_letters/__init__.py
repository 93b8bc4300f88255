"""Commands for dead letters: list them, show one, replay them to the topics they came from."""
