"""Methods that nobody named: of the usual ones, those that an encoder's readout has."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fsl_explain.encoder import Encoder
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.readouts.cells import NoPooling


@runtime_checkable
class NamesMethods(Protocol):
    """A section of the settings with methods."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it names, or the usual ones."""
        ...

    @property
    def model_fields_set(self) -> set[str]:
        """What was said in it."""
        ...


def fitting(names: Sequence[str], encoder: Encoder) -> tuple[str, ...]:
    """Return the methods without those of pooled maps where the embedding is no pooling of the maps."""
    pools = not isinstance(encoder.pooling, NoPooling)
    known = {name: find_method(name) for name in names if name != CLASS_LOGIT.name}
    return tuple(name for name in names if pools or name not in known or not known[name].is_of_pooled_maps)


def methods_of(section: NamesMethods, encoder: Encoder) -> tuple[str, ...]:
    """Return the methods of a section of the settings: all that it names, or those of the usual ones that fit."""
    return section.methods if "methods" in section.model_fields_set else fitting(section.methods, encoder)
