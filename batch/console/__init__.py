"""What a terminal is given and what it gives: texts of arguments, printed tables, log files."""
