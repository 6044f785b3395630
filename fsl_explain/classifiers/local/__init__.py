"""Decisions over local features, one a file: cells of the query are compared with cells of the supports.

A rule says which pairs of cells count, and by how much; all that follows from that is in ``rule`` and in
``similarities/pair_form``.
"""
