"""Helpers that several test folders use, each under one name."""
