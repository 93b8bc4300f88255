"""The command line's input and output: parsing of arguments, printed tables, log files."""
