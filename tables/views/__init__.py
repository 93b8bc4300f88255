"""HTTP views on the tables."""
