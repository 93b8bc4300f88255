"""What can be seen of the tables over HTTP."""
