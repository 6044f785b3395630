"""What a page of a search says of the bank that was searched."""

from fsl_explain.backbones.random_parts import random_words
from fsl_explain.encoder import Encoder
from retrieval_explain.memory_bank import MemoryBank


def bank_facts(bank: MemoryBank, encoder: Encoder) -> dict[str, str]:
    """Return what the bank holds, what made it, and how it was searched, by heading."""
    rows, channels = bank.rows.shape
    verified = bank.verified
    return {
        "Bank": f"{rows} images of {len(bank.labels[bank.labels >= 0].unique()) or 'no'} classes",
        "Encoder": f"{bank.encoder or encoder.description}. {random_words(encoder.random)}".removesuffix(". "),
        "Embeddings": f"{channels} channels, {bank.similarity_words} similarity",
        "Search": "exact" if verified is None else f"{verified.index.kind}: {verified.sentence}",
    }
