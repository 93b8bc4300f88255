"""Tests of the output topics' JSON Schemas, without any server."""
