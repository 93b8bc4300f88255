"""Examples to copy: programs that use the published topics and nothing else of this project."""
