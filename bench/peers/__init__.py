"""Peers: programs that do the same job as Millrace, implemented with other systems.

The stream peers emit each complete order once, with all its products; the lake peers build the same Gold tables. Each
peer runs as a separate process and imports no module of Millrace, so it does not need the packages of Millrace.
"""
