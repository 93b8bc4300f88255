"""Programs to copy: they use the published topics and nothing else of this project."""
