"""The servers on one machine, as plain processes, and nothing else."""
