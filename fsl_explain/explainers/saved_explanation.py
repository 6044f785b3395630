"""Explanations taken apart into plain values and tensors, and put together again: what is saved, pickled and copied.

The network stays behind. What the support audit and the correspondence read goes along.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from episodes.geometry import Geometry
from fsl_explain.classifiers import Decision
from fsl_explain.explainers import evidence
from fsl_explain.explainers.sides import QuerySide, SupportSide


def taken_apart(explanation: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return an explanation as plain values and tensors, without the network."""
    facts, kept = evidence.written(explanation.evidence)
    tensors: dict[str, Tensor] = {
        "score": explanation.exact_score,
        "scores": explanation.decision.scores,
        "label": torch.as_tensor(explanation.decision.label),
        "target": torch.as_tensor(explanation.target),
        **{f"query.{name}": value for name, value in explanation.query.tensors.items()},
        **{f"supports.{name}": value for name, value in explanation.supports.tensors.items()},
        **{f"evidence.{name}": value for name, value in kept.items()},
        **{f"constant.{number}": value for number, value in enumerate(explanation.constants.values())},
        **{f"named.{number}": value for number, value in enumerate(explanation.query.named.values())},
    }
    if explanation.against is not None:
        tensors["against"] = explanation.against
    plain = {
        "method": explanation.method,
        "signed": explanation.signed,
        "addends": explanation.addends,
        "ranks": explanation.ranks,
        "classes": list(explanation.decision.classes),
        "constants": list(explanation.constants),
        "named": list(explanation.query.named),
        "geometry": None if explanation.geometry is None else explanation.geometry.plain,
        "evidence": facts,
    }
    return plain, {name: value.detach().cpu() for name, value in tensors.items()}


def parts_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of the explanation that was taken apart, by the names of its fields.

    ``objects`` are a rule and a similarity without a name, where a pickle or a copy brought them.
    """
    label, target = (tensors[name] for name in ("label", "target"))
    geometry = facts["geometry"]
    named = {name: tensors[f"named.{number}"] for number, name in enumerate(facts.get("named", ()))}
    return {
        "method": facts["method"],
        "decision": Decision(_index(label), tensors["scores"], tuple(facts["classes"])),
        "target": _index(target),
        "against": tensors.get("against"),
        "exact_score": tensors["score"],
        "constants": {name: tensors[f"constant.{number}"] for number, name in enumerate(facts["constants"])},
        "query": QuerySide(**_below("query", tensors), named=named),
        "supports": SupportSide(**_below("supports", tensors)),
        "evidence": replace(evidence.read_back(facts["evidence"], _below("evidence", tensors)), **objects),
        "signed": facts["signed"],
        "addends": facts["addends"],
        "ranks": facts["ranks"],
        "geometry": None if geometry is None else Geometry.of_plain(geometry),
    }


def _index(value: Tensor) -> int | Tensor:
    return int(value) if value.dim() == 0 else value


def _below(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{place}."): value for name, value in tensors.items() if name.startswith(f"{place}.")}
