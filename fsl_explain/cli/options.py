"""Options that several commands have."""

from typing import Annotated

from cyclopts import Parameter

Changes = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]
"""Settings to change, as section.key=value."""
Neighborhood = Annotated[int, Parameter(name=("--k", "-k"))]
"""How many neighbors."""
