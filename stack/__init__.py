"""The servers on one machine, as plain processes, and the tools around them."""
