"""What an operator types: the tools around the servers, wherever those run."""
