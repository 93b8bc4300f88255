"""The commands on dead letters: list them, look at one, write them again to where they came from."""
