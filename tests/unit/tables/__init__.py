"""Proof for look-ups and views, without a server."""
