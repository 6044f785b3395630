"""Embeddings that other software has made, read piece by piece into a bank of ours."""
