"""What an operator types: tools for servers wherever they run."""
