"""The Python that gives the same answer, for a notebook."""

from episodes.box_formats import whole_pixels
from retrieval_explain.serve.queries import Asked
from retrieval_explain.serve.served_bank import ServedBank

START = """import fsl_explain, retrieval_explain
from episodes import read_image

bank = retrieval_explain.MemoryBank.load({bank})
encoder = {encoder}  # as the bank was built
"""


def search_call(served: ServedBank, search: Asked) -> str:
    """Return the call that finds the same neighbors."""
    return _opening(served, search) + _retrieved(search)


def why_call(served: ServedBank, search: Asked, target: int, against: int | None, method: str, detail: str) -> str:
    """Return the call that explains why one image came back, or why rather than another."""
    opening = _opening(served, search)
    if detail:
        opening = opening.replace("\nquery", f"\nencoder = encoder.with_detail({detail})\nquery")
    rival = "" if against is None else f', against="id:{against}"'
    if search.text is not None:
        return (
            f"{opening}explanation = retrieval_explain.explain(encoder, bank=bank, text=query, "
            f'method="{method}", target="id:{target}"{rival})'
        )
    return (
        f'{opening}explanation = retrieval_explain.explain(encoder, query, bank, method="{method}", '
        f'rule="nearest-neighbor", k={search.k}, target="id:{target}"{rival})\nprint(explanation.receipt())'
    )


def why_not_call(served: ServedBank, search: Asked, expected: str) -> str:
    """Return the call that says why something expected does not come first."""
    return (
        f"{_opening(served, search)}{_retrieved(search)}\n"
        f"print(retrieval_explain.why_not_first(retrieved, {expected!r}))"
    )


def vote_call(served: ServedBank, search: Asked, rule: str, temperature: float | None) -> str:
    """Return the call that explains the vote."""
    heat = "" if temperature is None else f", temperature={temperature:g}"
    return (
        f'{_opening(served, search)}explanation = retrieval_explain.explain(encoder, query, bank, method="contrast", '
        f'rule="{rule}", k={search.k}{heat})\nprint(explanation.receipt())\n'
        "print(fsl_explain.support_audit(explanation))"
    )


def _opening(served: ServedBank, search: Asked) -> str:
    directory = "…" if served.bank.directory is None else str(served.bank.directory)
    start = START.format(bank=repr(directory), encoder=served.made_by)
    if search.text is not None:
        return f"{start}query = {search.text!r}\n"
    crop = "" if search.box is None else f".crop({whole_pixels(search.box)})"
    return f"{start}query = encoder.preprocess([read_image({_file(served, search.query)}){crop}])[0]\n"


def _file(served: ServedBank, query: str) -> str:
    """Return where the query's file is: that of the bank, or one that the user has."""
    kind, _, rest = query.partition(":")
    number, _, image = rest.partition(":")
    if kind == "image" and number == str(served.number):
        return f"bank.paths[{served.row_of(int(image))}]"
    return '"the file that was given"'


def _retrieved(search: Asked) -> str:
    among = "" if not search.classes else f", classes={list(search.classes)!r}"
    if search.text is not None:
        return f"retrieved = retrieval_explain.retrieve_text(encoder, query, bank, k={search.k}{among})"
    return f"retrieved = retrieval_explain.retrieve(encoder, query, bank, k={search.k}{among})"
