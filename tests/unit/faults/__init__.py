"""Tests of the judgement over a fault, without any server."""
