"""The commands of `python -m batch`: each module parses the arguments of one command and plans its run."""
