"""The same job in other systems: emit each complete order once, with all its products.

Each runs as a separate process and imports nothing of the product, so it needs none of the product's packages.
"""
