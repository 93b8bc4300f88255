"""Tests with real servers, started for them on free ports."""
