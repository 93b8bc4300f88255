"""Peers: the jobs of Millrace, implemented with other systems.

The stream peers emit each complete order once, with all its products; the lake peers build the same Gold. Each runs as
a separate process and imports nothing of Millrace, so it needs none of Millrace's packages.
"""
