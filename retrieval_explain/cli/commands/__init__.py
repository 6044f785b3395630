"""The commands: signature, help and the checks of what was given.

None loads anything heavy before the arguments and settings are found to be in order. The module of the same name in the
folder above does the work.
"""
