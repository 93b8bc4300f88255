"""Local servers: start, stop and inspect them as plain processes on one machine."""
