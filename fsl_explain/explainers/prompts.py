"""Texts as supports: prompts by class, embedded by the encoder's text tower."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, WrongType
from fsl_explain.encoder import Encoder

Group: TypeAlias = str | Sequence[str] | Tensor | np.ndarray
Text: TypeAlias = str | Sequence[str] | Mapping[str, Group]


def supports_of(encoder: Encoder, supports: Any, text: Text | None) -> Any:
    """Return the supports that are given, or the embeddings of texts.

    Raises: ``ValueError`` for both or none; as ``text_supports``.
    """
    if (supports is None) == (text is None):
        raise Mistake(
            "expected supports or text to compare with, but got "
            f"{'none of them' if supports is None else 'both'}; give one of the two."
        )
    return text_supports(encoder, text) if text is not None else supports


def text_supports(encoder: Encoder, text: object) -> dict[str, Float[Tensor, "shot embedding"]]:
    """Return the embeddings of each class's texts, (shot, embedding); those of prompts have norm 1.

    Their mean, to which ``prototype`` compares, is then the model's usual classifier of several prompts a class.

    Raises: ``ValueError`` or ``TypeError`` for what is no text; as ``Encoder.embed_text``.
    """
    if encoder.scales is not None and encoder.scales.support_sides is not None:
        raise Mistake(
            "expected support_scales with supports that are images, but texts stand in their place, which have no "
            "size; leave support_scales out."
        )
    groups = _groups(text)
    prompts = [prompt for group in groups.values() if isinstance(group, list) for prompt in group]
    embedded = iter(of_norm_one(encoder.embed_text(prompts), encoder.text_copies)) if prompts else iter(())
    found = {}
    for name, group in groups.items():
        found[name] = torch.stack([next(embedded) for _ in group]) if isinstance(group, list) else group
    return found


def of_norm_one(embeddings: Float[Tensor, "*prompt embedding"], copies: int) -> Float[Tensor, "*prompt embedding"]:
    """Normalize embeddings, each copy of them where it stands there once for each scale."""
    return F.normalize(embeddings.unflatten(-1, (copies, -1)), dim=-1).flatten(start_dim=-2)


def prompts_by_class(text: Text) -> dict[str, list[str]]:
    """Return the prompts of each class, none where its embeddings were given. Raises: as ``text_supports``."""
    return {name: group if isinstance(group, list) else [] for name, group in _groups(text).items()}


def prompts_from_text(given: Sequence[str]) -> Text:
    """Read prompts as a command line has them: ``PROMPT``, or ``CLASS=PROMPT|PROMPT`` for several of one class.

    A class that comes again gets more prompts. What begins with ``=`` is a prompt as it stands, for one that has a
    ``=`` of its own. Without any ``=`` each prompt is a class.

    Raises: ``ValueError`` for an empty prompt, or one that comes more than once in a class.
    """
    if not any("=" in one for one in given):
        return list(given)
    found: dict[str, list[str]] = {}
    for one in given:
        name, is_of_a_class, rest = one.partition("=")
        prompts = [part.strip() for part in rest.split("|")] if name and is_of_a_class else [rest or name]
        own = found.setdefault(name.strip() or rest, [])
        for prompt in prompts:
            if not prompt or prompt in own:
                why = "an empty one" if not prompt else f"{prompt!r} more than once"
                raise Mistake(f"expected CLASS=PROMPT|PROMPT with prompts that differ, but {one!r} has {why}; mend it.")
            own.append(prompt)
    return found


def scale_of(encoder: Encoder, scale: float | None, text: Text | None) -> float:
    """Return the factor of scores in a softmax: the one given, else the model's own for texts, else 1."""
    if scale is not None:
        return float(scale)
    own = None if text is None or encoder.text is None else encoder.text.scale
    return 1.0 if own is None else own


def _groups(text: object) -> dict[str, list[str] | Tensor]:
    if isinstance(text, Mapping):
        return {name: _group(name, group) for name, group in text.items()}
    prompts: object = [text] if isinstance(text, str) else text
    if not isinstance(prompts, Sequence) or not all(isinstance(one, str) for one in prompts):
        raise WrongType(
            "expected text as a list of prompts, or a mapping from class name to prompts, but got "
            f"{type(text).__name__}; write text={{'cat': 'a photo of a cat'}}, for example."
        )
    repeated = [one for one in dict.fromkeys(prompts) if list(prompts).count(one) > 1]
    if repeated:
        raise Mistake(f"expected prompts that differ, but {repeated[0]!r} comes more than once; name it once.")
    return {prompt: [prompt] for prompt in prompts}


def _group(name: str, group: object) -> list[str] | Tensor:
    if isinstance(group, str):
        return [group]
    given = torch.from_numpy(group) if isinstance(group, np.ndarray) else group
    if isinstance(given, Tensor):
        return given[None] if given.dim() == 1 else given
    if not isinstance(given, Sequence) or not given or not all(isinstance(one, str) for one in given):
        raise WrongType(
            f"expected a prompt, prompts, or embeddings (shot, embedding) as the text of {name}, but got "
            f"{'none' if isinstance(given, Sequence) and not given else type(given).__name__}; give at least one."
        )
    return list(given)
