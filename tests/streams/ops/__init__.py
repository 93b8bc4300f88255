"""What an operator types, on real servers."""
