"""The data sets: one file each, from its official layout on disk to labeled images.

Helpers that several of them share (class folders, XML boxes, masks of categories, tables of parts) stand beside them.
A new data set is a file here and a line in the registry of the settings. It yields
``LabeledImage`` and knows nothing of explanations.
"""
