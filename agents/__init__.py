"""What we do when a change arrives."""
