"""Helpers shared by tests of the lake in several folders."""
