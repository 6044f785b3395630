"""Decisions over neighbors, as decisions over supports, so that every explainer applies.

``explained_neighbors`` explains one query, ``chosen_classes`` and ``questions`` many at once.
"""
