"""How PyTorch's operations are written down as steps; a file a kind, and importing one enters it in the table."""
