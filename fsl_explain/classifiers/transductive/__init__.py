"""Decisions that look at all images of an episode together: BD-CSPN and LaplacianShot, one a file.

The images to be decided move the prototypes, or vote for their neighbors; ``shifted_prototypes`` writes scores as sums
over both kinds of images.
"""
