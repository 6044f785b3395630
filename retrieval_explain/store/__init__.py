"""A bank on disk: its rows, versions, journal and files, each checked by hash, and a switch that no kill can halve.

What changes a bank makes a new version; what reads one reads no row before its block is checked.
"""
