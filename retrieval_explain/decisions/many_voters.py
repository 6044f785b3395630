"""A vote of more neighbors than any class has images."""

from retrieval_explain.memory_bank import MemoryBank


def many_voters(bank: MemoryBank, voters: int) -> str:
    """Return a sentence where more neighbors vote than the largest class has images; "" otherwise."""
    labels = bank.labels[bank.labels >= 0]
    largest = int(labels.bincount().max()) if len(labels) else voters
    if voters <= largest:
        return ""
    return (
        f"{voters} neighbors vote, but no class has more than {largest} images, so that most votes may be of others; "
        "lower -k."
    )
