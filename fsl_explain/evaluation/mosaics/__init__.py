"""Mosaics of four classes: does the map point at the tile of the class that it explains?

From drawing the mosaics to embedding, fitting heads, measuring and the table.
"""
