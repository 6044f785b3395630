"""A bank, and why its images came back, for other tools.

What lives here reads a bank and an inspection and imports its tool only when it is called.
"""
