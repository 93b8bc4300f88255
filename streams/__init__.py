"""What flows and how it is processed."""
