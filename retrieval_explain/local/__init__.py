"""Local features of a bank's images, kept beside it, and what is ranked again by them.

What enters is a bank and the encoder that made it; rules that compare cells and explanations are ``fsl_explain``'s.
"""
