"""Finer maps: relevance of the last maps carried back to larger maps inside the network, with nothing lost."""
