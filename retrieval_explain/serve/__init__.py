"""The workbench of banks: a page in a browser that asks why images came back, and why others did not.

``app`` has the addresses, ``served_bank`` a bank with its encoder, ``queries`` what is searched for; each other file is
one answer. Needs the extra ``serve``.
"""
