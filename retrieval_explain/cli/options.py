"""Options of banks that several commands have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from episodes.box_formats import FORMATS, check_format
from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import among, each
from fsl_explain.registries import LOCAL_RULES, RULES, VOTES, rules_among
from retrieval_explain.bank_address import Address, as_place
from retrieval_explain.settings import DTYPES, INDEX_KINDS, LAYOUTS

Box = tuple[float, float, float, float] | None
BoxFormatName = Annotated[
    str,
    Parameter(
        validator=each(check_format),
        help=f"What the four numbers of --box are: {', '.join(FORMATS)}. Relative ones are shares of width and height.",
    ),
]
Classes = Annotated[tuple[str, ...], Parameter(name="--class", negative="")]
Prompts = Annotated[tuple[str, ...], Parameter(negative="")]
Ids = Annotated[tuple[int, ...], Parameter(name="--id", negative="")]


def _vote(rule: str) -> str:
    if RULES.checked(rule) not in rules_among(VOTES):
        raise Mistake(f"expected a vote of the neighbors, {' or '.join(rules_among(VOTES))}, but got {rule}.")
    return rule


def _as_place(_: Any, tokens: Sequence[Any]) -> Path | Address:
    return as_place(tokens[0].value)


BankPlace = Annotated[
    Path | Address,
    Parameter(converter=_as_place, n_tokens=1, accepts_keys=False, help="A folder, or milvus://host:port/collection."),
]


def _as_places(_: Any, tokens: Sequence[Any]) -> tuple[Path | Address, ...]:
    return tuple(as_place(token.value) for token in tokens)


Banks = Annotated[
    tuple[Path | Address, ...],
    Parameter(name="--bank", negative="", converter=_as_places, n_tokens=1, accepts_keys=False),
]


def check_bank(bank: Path | Address) -> None:
    """Refuse the folder of a bank that is not there, before a command starts. Raises: ``FileNotFoundError``."""
    if isinstance(bank, Path):
        check_input(bank, "the folder of a bank")


IndexName = Annotated[str | None, among("index", INDEX_KINDS)]
DtypeName = Annotated[str, among("dtype", DTYPES)]
LocalRuleName = Annotated[str | None, among("rule over local features", LOCAL_RULES)]
LayoutName = Annotated[str, among("layout", LAYOUTS)]
VoteName = Annotated[str, Parameter(validator=each(_vote), help=f"{' or '.join(rules_among(VOTES))}.")]
