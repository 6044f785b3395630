"""Every method on the same images: maps measured, compared in pairs, with and without supports.

``with_supports`` and ``label_free`` measure, ``comparison_tables`` says what came out.
"""
