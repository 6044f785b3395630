"""Explanations as pictures: colors of maps, overlays, one figure a query, regions that are linked between two images.

They read explanations and draw with matplotlib. Pages and commands place them.
"""
