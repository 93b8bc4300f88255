"""What several test folders need, each under one name."""
