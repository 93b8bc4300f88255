"""What an operator types, without servers."""
