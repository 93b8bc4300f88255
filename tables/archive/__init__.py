"""The archive of raw changes: which records make an object, and how its offsets are committed."""
