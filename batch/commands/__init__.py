"""The commands of `python -m batch`, one file each: arguments, and the steps of the run."""
