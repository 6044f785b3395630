"""Weights from files: read without running anything, recognized by their names, every tensor accounted for.

A release of weights that is published under names of its own is one entry in a table of releases.
"""
