"""The demo, `make demo`: run the main job on real servers, and prove that its result is correct."""
