"""`make demo`: the main job on real servers with realistic amounts of data, and a proof at the end."""
