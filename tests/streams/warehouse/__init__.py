"""Tests of the warehouse on a real PostgreSQL."""
