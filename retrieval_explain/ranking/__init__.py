"""Neighbors in their order, and how well an order keeps a class together, with ties counted in full.

Rows of numbers in, ranks and rates out: nothing here knows an encoder, a file or a decision.
"""
