"""The archive on real servers."""
