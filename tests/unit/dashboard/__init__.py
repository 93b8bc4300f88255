"""Tests of the page for people, without a browser."""
