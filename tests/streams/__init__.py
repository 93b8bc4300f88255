"""Tests of the streams, and of the tools around them, on real servers that they start on free ports."""
