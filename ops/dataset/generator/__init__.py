"""Generate realistic shop data from a seed: orders, their lines, customers and payment methods."""
