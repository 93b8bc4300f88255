"""Look at every server and worker, and say what is wrong and what to do."""
