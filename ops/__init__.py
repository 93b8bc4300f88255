"""The operator's commands: tools for servers wherever they run."""
