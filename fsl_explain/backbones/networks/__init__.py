"""The networks that the library builds itself, one file each, as their papers and releases write them.

They return activation maps and know nothing of weights, heads or explanations.
"""
