"""Explanations of what a search in a bank of images returns."""
