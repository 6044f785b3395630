"""Results on disk: what was measured with which versions, seeds, data and weights; written, and read back.

No figure is computed here.
"""
