"""State of the applications: tables, caches, sinks, and the web views of the state."""
