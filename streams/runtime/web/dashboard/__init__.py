"""The page `/` for people: a verdict, and the figures of all workers of the application behind it, live."""
