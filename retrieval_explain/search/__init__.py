"""The nearest rows of a bank: by comparing all of them, or by an index whose recall is measured.

FAISS is imported in ``index`` alone; an index is kept beside its bank by ``index_cache``.
"""
