"""The same job in the systems people would use instead: one complete order once, with all its products.

They run as processes of their own and import nothing of the product, so that they need none of its packages.
"""
