"""What is said below a table of images that came back: those without maps, and those that have changed."""

from collections.abc import Iterable

from retrieval_explain.inspection.inspected import Pair, Shown


def remarks(gallery: Iterable[Shown], pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Name each image that has no maps, and each whose file is not what the bank was built of."""
    faults = (f"#{one.rank}: no maps, because {one.fault}" for one in gallery if one.fault)
    changed = (
        f"#{pair.shown.rank} has changed since the bank was built; now it has {float(pair.explanation.score):.6f}."
        for pair in pairs
        if not pair.agrees
    )
    return (*faults, *changed)
