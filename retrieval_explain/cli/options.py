"""Options of banks that several commands have."""

from typing import Annotated

from cyclopts import Parameter

from episodes.box_formats import FORMATS, check_format
from episodes.errors import Mistake
from fsl_explain.cli.options import among, each
from fsl_explain.registries import LOCAL_RULES, RULES, VOTES, rules_among
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
Ids = Annotated[tuple[int, ...], Parameter(name="--id", negative="")]


def _vote(rule: str) -> str:
    if RULES.checked(rule) not in rules_among(VOTES):
        raise Mistake(f"expected a vote of the neighbors, {' or '.join(rules_among(VOTES))}, but got {rule}.")
    return rule


IndexName = Annotated[str | None, among("index", INDEX_KINDS)]
DtypeName = Annotated[str, among("dtype", DTYPES)]
LocalRuleName = Annotated[str | None, among("rule over local features", LOCAL_RULES)]
LayoutName = Annotated[str, among("layout", LAYOUTS)]
VoteName = Annotated[str, Parameter(validator=each(_vote), help=f"{' or '.join(rules_among(VOTES))}.")]
