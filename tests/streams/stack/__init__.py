"""The servers on one machine, as a person meets them."""
