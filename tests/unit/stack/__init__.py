"""The parts of the stack that need no server."""
