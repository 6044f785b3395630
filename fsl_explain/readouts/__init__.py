"""Readouts of token networks: how a class token or attention that pools gathered the embedding, cell by cell."""
