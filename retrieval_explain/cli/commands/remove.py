"""``retrieval-explain remove``."""

from episodes.errors import Mistake
from retrieval_explain.cli.options import BankPlace, Classes, Ids, check_bank


def remove(
    *,
    bank: BankPlace,
    ids: Ids = (),
    classes: Classes = (),
    missing: bool = False,
) -> None:
    """Take images out of a bank.

    The bank that was there stays until the new one is whole; the other images keep their ids and their order.

    Parameters
    ----------
    bank
        The folder of the bank, or milvus://host:port/collection.
    ids
        Remove the image with this id, as search lists them; may be repeated.
    classes
        Remove all images of this class; may be repeated.
    missing
        Remove the images whose files are gone.

    Examples
    --------
    retrieval-explain remove --bank birds.bank --class tern
    retrieval-explain remove --bank birds.bank --missing
    """
    check_bank(bank)
    if not (ids or classes or missing):
        raise Mistake("expected images to remove, but none were named; give --id, --class or --missing.")

    from retrieval_explain.cli.remove import run

    run(bank, ids, classes, missing)
