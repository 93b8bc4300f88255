"""Proof for the effects of agents, without a server."""
