"""Options that several commands have; a name is checked, and listed in the help, without loading what it stands for."""

from collections.abc import Callable, Collection
from typing import Annotated, get_args

from cyclopts import Parameter

from episodes.naming import unknown_name
from episodes.registry import Registry
from fsl_explain.config.names import Readout
from fsl_explain.config.scales import scales_from_text, sides_from_text
from fsl_explain.engine import ENGINES
from fsl_explain.registries import (
    ENCODERS,
    METHODS,
    OWN,
    POOLINGS,
    RULES,
    SIMILARITIES,
    checked_encoder,
    family_names,
)

BIASES = ("drawn", "apart")
READOUTS: tuple[str, ...] = get_args(Readout)
FITTED = "mahalanobis"
"""The similarity that is fitted on the supports."""


def each(check: Callable[[str], object]) -> Callable[[object, object], None]:
    """Return the check of an option whose value is a name, several or none."""

    def checked(_hint: object, given: object) -> None:
        for name in given if isinstance(given, tuple | list) else (given,):
            if name is not None:
                check(str(name))

    return checked


def one_of(table: Registry[object], what: str = "{}.", *also: str) -> Parameter:
    """Return how an option names a member of a table; in ``what``, its help, {} stands for the names."""
    return Parameter(
        validator=each(lambda name: table.checked(name, *also)), help=what.format(table.listed(*also)), negative=""
    )


def among(kind: str, names: Collection[str]) -> Parameter:
    """Return the check that an option is one of some names that are no registry."""
    return Parameter(validator=each(among_names(kind, names)))


def among_names(kind: str, names: Collection[str]) -> Callable[[str], str]:
    """Return the check that a text is one of some names that are no registry."""

    def check(name: str) -> str:
        if name not in names:
            raise unknown_name(kind, name, names)
        return name

    return check


Changes = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]
"""Settings to change, as section.key=value."""
Resume = Annotated[
    bool,
    Parameter(
        negative="",
        help="Go on with the finished parts of an interrupted run of the same settings and images into the same --out.",
    ),
]
"""Whether finished parts are taken."""
Overwrite = Annotated[
    bool, Parameter(negative="", help="Replace the results that stand in --out; otherwise they are a mistake.")
]
"""Whether results that are there are replaced."""
SkipBroken = Annotated[
    bool,
    Parameter(negative="", help="List images that cannot be read on stderr and go on without them, as the tables say."),
]
"""Whether an evaluation leaves broken images out."""
SaveMaps = Annotated[
    bool,
    Parameter(
        negative="",
        help="Write raw maps into the folder maps of --out: cells and saliency in float16, with an index to query and "
        "method. They are large: about 0.1 MB each at 224×224.",
    ),
]
"""Whether an evaluation writes its maps."""
Neighborhood = Annotated[int, Parameter(name=("--k", "-k"))]
"""How many neighbors."""
EngineName = Annotated[str, one_of(ENGINES, "What runs the parts of the work: {}. Local is this process alone.")]
Workers = Annotated[
    int | None, Parameter(help="Processes that the engines process and ray have; one for each processor unless given.")
]
EncoderName = Annotated[
    str,
    Parameter(
        validator=each(checked_encoder),
        help=f"{ENCODERS.listed(*family_names('NAME'), OWN)}. The last runs your code: it returns an Encoder.",
    ),
]
Center = Annotated[
    str | None,
    Parameter(
        help="Center embeddings on the mean of the supports, or of a bank that the same encoder made: supports or the "
        "bank's folder. Scores and decisions change.",
    ),
]
Texts = Annotated[tuple[str, ...], Parameter(negative="")]
"""Prompts, one an option."""
PoolingName = Annotated[str | None, one_of(POOLINGS, "{}; that of the encoder's paper unless given.")]
ReadoutName = Annotated[
    str | None,
    Parameter(
        validator=each(among_names("readout", READOUTS)),
        help=f"Of networks of tokens: {', '.join(READOUTS)}; that of the network itself unless given.",
    ),
]
ScalesText = Annotated[
    str | None,
    Parameter(
        name="--scales",
        validator=each(scales_from_text),
        help="Sides at which each image is seen, such as 224,448: the decision is the mean of those at each. Weights "
        "are written 224:1,448:3.",
    ),
]
SupportScalesText = Annotated[
    str | None,
    Parameter(
        name="--support-scales",
        validator=each(sides_from_text),
        help="Of --scales: the side at which supports are seen, such as 224, or one for each scale; that of the query "
        "unless given.",
    ),
]
Detail = Annotated[
    int,
    Parameter(
        help="Draw maps finer: each step doubles the grid of the network's last maps, and all still adds up; 0 draws "
        "these as they are.",
    ),
]
BiasesName = Annotated[
    str,
    Parameter(
        validator=each(among_names("way with biases", BIASES)),
        help="Of --detail: drawn, where they act, or apart, as a part of the bias.",
    ),
]
SimilarityName = Annotated[str, one_of(SIMILARITIES)]
FittedSimilarityName = Annotated[str, one_of(SIMILARITIES, "{} (fitted on the supports).", FITTED)]
RuleName = Annotated[str, one_of(RULES)]
MethodNames = Annotated[
    tuple[str, ...],
    one_of(
        METHODS,
        "{}; may be repeated. By default contrast, exact, fam and lafam, as far as classes and similarity allow.",
    ),
]
