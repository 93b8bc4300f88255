"""The verdicts over a fault, without any server."""
