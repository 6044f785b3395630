"""Options of banks that several commands have."""

from typing import Annotated

from cyclopts import Parameter

from fsl_explain.cli.options import among
from retrieval_explain.settings import DTYPES, INDEX_KINDS, LAYOUTS, VOTES

Box = tuple[float, float, float, float] | None
Classes = Annotated[tuple[str, ...], Parameter(name="--class", negative="")]
Ids = Annotated[tuple[int, ...], Parameter(name="--id", negative="")]


IndexName = Annotated[str | None, among("index", INDEX_KINDS)]
DtypeName = Annotated[str, among("dtype", DTYPES)]
LayoutName = Annotated[str, among("layout", LAYOUTS)]
VoteName = Annotated[str, among("rule", VOTES)]
