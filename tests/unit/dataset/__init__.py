"""Tests of dataset definitions and of the tools on datasets, without any server."""
