"""Banks that a Milvus server holds: their address, their rows, and what happens when the server or a writer is gone.

Enters what ``store`` and ``search`` define; only ``memory_bank`` enters it, and commands its addresses.
"""
