"""Networks of other libraries by name, ``family:name``: a module each, which builds a network as that library does.

What enters: the name and the options of a network. What leaves: a ``Member``, with the preparation of its images.
"""
