"""The lake's code that needs neither Spark nor a server."""
