"""Broken images of a command's data: listed on stderr, and left out."""

from episodes import LabeledImages, readable
from fsl_explain.cli.progress import note


def without_broken(dataset: LabeledImages) -> LabeledImages:
    """Read every image once and leave out those that cannot be read, each named on stderr.

    Raises: ``ValueError`` where none can be read.
    """
    note(f"Reading {len(dataset)} images to find broken ones …")
    found = readable(dataset)
    for sentence in found.broken:
        note(f"Left out: {sentence}")
    note(f"Left out {len(found.broken)} of {len(dataset)} images.")
    return found.images
