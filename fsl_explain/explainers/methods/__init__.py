"""The methods: one file each, from a question to an attribution of each side. ``named`` lists them by name.

A method imports, of the explainers, only what defines one: ``question``, ``method``, ``normalization`` and ``exact``.
"""
