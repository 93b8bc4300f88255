"""Helpers of tests of the lake that several folders use."""
