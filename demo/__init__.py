"""`make demo`: the main job on real servers and data of real size, with a proof at its end."""
