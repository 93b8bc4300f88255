"""Command-line input and output: parsers for arguments, printed tables and log files."""
