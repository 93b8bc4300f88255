"""The proof a newcomer sees: `make demo` runs the main job on real servers and checks the result."""
