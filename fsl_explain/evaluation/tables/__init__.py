"""Tables that people read: means with intervals, paired differences, and what is clearly best.

They read columns of figures and know neither encoders nor images.
"""
