"""Seeded, realistic data for a shop with orders, their lines, customers and payment methods."""
