"""What an explanation answers when it is asked further: pairs of regions, supports left out, what would flip it.

An analysis reads one explanation's question and any method, and is read by pictures and pages.
"""
