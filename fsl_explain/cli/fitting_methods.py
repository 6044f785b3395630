"""Methods that nobody named: of the usual ones, those that an encoder's readout has."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fsl_explain.classifiers import RULES, Rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.readouts.cells import NoPooling, flattens


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


def fitting(names: Sequence[str], encoder: Encoder, rule: str | Rule = "mean-similarity") -> tuple[str, ...]:
    """Return the methods without those that have no answer for what is decided by.

    FAM and gradients of pooled maps have none where the embedding is no pooling of the maps, nor FAM and Ablation-CAM
    where each cell is compared by itself.
    """
    seen = encoder_for(RULES.find(rule), encoder)
    pools, apart = not isinstance(seen.pooling, NoPooling), flattens(seen.pooling)
    known = {name: find_method(name) for name in names if name != CLASS_LOGIT.name}
    without = {
        name
        for name, method in known.items()
        if (method.is_of_pooled_maps and not pools) or (method.of_one_value_a_map and apart)
    }
    return tuple(name for name in names if name not in without)


def methods_of(section: NamesMethods, encoder: Encoder, rule: str | Rule = "mean-similarity") -> tuple[str, ...]:
    """Return the methods of a section of the settings: all that it names, or those of the usual ones that fit."""
    return section.methods if "methods" in section.model_fields_set else fitting(section.methods, encoder, rule)
