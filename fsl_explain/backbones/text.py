"""Towers for text of models that compare images with texts: from prompts to embeddings beside those of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake, WrongType
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.placement import deciding_tensor
from fsl_explain.batches import slices
from fsl_explain.devices import at_hand, in_full_precision

PROMPTS_TOGETHER = 64
"""Prompts in one forward pass."""
READ = ("input_ids", "attention_mask")
PADDED = "siglip"  # models of this kind are trained on prompts that are padded to one length

Tokens = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TextTower:
    """What embeds prompts where the image tower of the same model embeds images.

    - ``network``: the model whose layers run; it is put into eval mode meanwhile.
    - ``tokenize``: prompts to tensors by keyword, one row a prompt. Raises ``ValueError`` for a prompt too long.
    - ``forward``: called with those, returns the embeddings (prompt, embedding).
    """

    network: nn.Module
    tokenize: Callable[[list[str]], Tokens]
    forward: Callable[..., Tensor]

    @classmethod
    def of_open_clip(cls, model: Any, tokenizer: Any) -> "TextTower":
        """Return the tower of a model of open_clip; ``tokenizer`` is what ``open_clip.get_tokenizer`` gives for it.

        Raises: ``TypeError`` for a model that embeds no text.
        """
        _expect(model, "encode_text", "open_clip")
        return cls(model, _OpenClipTokens(tokenizer), model.encode_text)

    @classmethod
    def of_transformers(cls, model: Any, tokenizer: Any) -> "TextTower":
        """Return the tower of a model of transformers, such as ``CLIPModel`` or ``SiglipModel``.

        ``tokenizer`` is what ``AutoTokenizer.from_pretrained(folder)`` gives. Prompts of SigLIP are padded to the
        length that it is trained with.

        Raises: ``TypeError`` for a model that embeds no text.
        """
        _expect(model, "get_text_features", "transformers")
        limit = model.config.text_config.max_position_embeddings
        padding = "max_length" if model.config.model_type.startswith(PADDED) else "longest"
        return cls(model, _TransformersTokens(tokenizer, limit, padding), _TransformersForward(model))

    @property
    def scale(self) -> float | None:
        """The factor of cosines in the model's softmax over prompts, exp of its ``logit_scale``; None: it has none."""
        found = getattr(self.network, "logit_scale", None)
        return float(found.detach().exp()) if isinstance(found, Tensor) and found.numel() == 1 else None

    def embed(self, prompts: Sequence[str]) -> Float[Tensor, "prompt embedding"]:
        """Return the embeddings of prompts as the model makes them, of any norm, in float32 or better.

        Raises: ``TypeError`` for anything but texts; ``ValueError`` for none, an empty or too long a one.
        """
        given = checked_prompts(prompts)
        with evaluating(self.network):
            parts = [self._run(given[part]) for part in slices(len(given), PROMPTS_TOGETHER)]
        return torch.cat(parts)

    def _run(self, prompts: list[str]) -> Float[Tensor, "prompt embedding"]:
        decides = deciding_tensor(self.network)
        tokens = {
            name: value if decides is None else value.to(decides.device)
            for name, value in self.tokenize(prompts).items()
        }
        return in_full_precision(at_hand(self.forward(**tokens)))


class Prompted:
    """Prompts embedded beside images, by the text tower ``text``, where there is one."""

    text: TextTower | None
    description: str
    centered_on: str
    without_text: str = ""  # why a model of images and texts has no text tower here
    text_copies: int = 1  # how often an embedding stands in that of a prompt: once for each scale of the images

    def embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "prompt embedding"]:
        """Return the embeddings of a list of prompts as the text tower makes them, of any norm.

        Where images are seen at several scales, each of them is compared with the same text, which stands there once
        for each. It runs in eval mode without gradients, some prompts at a time.

        Raises: ``ValueError`` for an encoder without a text tower or with centered embeddings, for no prompt, an empty
        or too long a one; ``TypeError`` for anything but texts.
        """
        if self.text is None and self.without_text:
            raise Mistake(
                f"expected an encoder of images and texts, but {self.description} has no text tower: "
                f"{self.without_text}."
            )
        if self.text is None:
            raise Mistake(
                f"expected an encoder of images and texts, but {self.description} has no text tower; wrap the image "
                "tower of a model such as CLIP with text=TextTower.of_open_clip(model, tokenizer)."
            )
        if self.centered_on:
            raise Mistake(
                "expected images embedded as the text tower embeds prompts, but they are centered on the "
                f"mean of {self.centered_on}; use the encoder as it was before."
            )
        return self.text.embed(prompts).repeat(1, self.text_copies)


@dataclass(frozen=True)
class _OpenClipTokens:
    tokenizer: Any

    def __call__(self, prompts: list[str]) -> Tokens:
        _check_lengths(prompts, *_lengths(self.tokenizer, prompts))
        return {"text": self.tokenizer(prompts)}


@dataclass(frozen=True)
class _TransformersTokens:
    tokenizer: Any
    limit: int
    padding: str

    def __call__(self, prompts: list[str]) -> Tokens:
        _check_lengths(prompts, [len(ids) for ids in self.tokenizer(prompts)["input_ids"]], self.limit)
        found = self.tokenizer(prompts, padding=self.padding, max_length=self.limit, return_tensors="pt")
        return {name: found[name] for name in READ if name in found}


@dataclass(frozen=True, eq=False)
class _TransformersForward:
    model: Any

    def __call__(self, **tokens: Tensor) -> Tensor:
        found = self.model.get_text_features(**tokens)
        embeddings: Tensor = found if isinstance(found, Tensor) else found.pooler_output
        return embeddings


def checked_prompts(prompts: object) -> list[str]:
    """Return a list of prompts. Raises: ``TypeError`` for anything else; ``ValueError`` for none or an empty one."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise WrongType(f"expected a list of prompts, but got {type(prompts).__name__}; put them into a list.")
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise WrongType(f"expected prompts as texts, but got {type(prompt).__name__}; use str.")
        if not prompt.strip():
            raise Mistake("expected prompts that say something, but one is empty; write it, or leave it out.")
    if not prompts:
        raise Mistake("expected at least one prompt, but got none.")
    return list(prompts)


def _expect(model: object, method: str, library: str) -> None:
    if not callable(getattr(model, method, None)):
        raise WrongType(
            f"expected a model of {library} with {method}, but got {type(model).__name__}; give the model of images "
            "and texts, not a tower of it."
        )


def _lengths(tokenizer: Any, prompts: list[str]) -> tuple[list[int], int]:
    """Return the tokens of each prompt and how many are read, as far as a tokenizer of open_clip tells them."""
    limit = getattr(tokenizer, "context_length", None)
    if limit is None:
        return [], 0
    if hasattr(tokenizer, "encode"):
        return [len(tokenizer.encode(prompt)) + 2 for prompt in prompts], limit  # with those of begin and end
    inner = getattr(tokenizer, "tokenizer", None)
    return ([], 0) if inner is None else ([len(ids) for ids in inner(prompts)["input_ids"]], limit)


def _check_lengths(prompts: list[str], lengths: list[int], limit: int) -> None:
    """Refuse a prompt whose end would not be read."""
    for prompt, length in zip(prompts, lengths, strict=False):
        if length > limit:
            raise Mistake(
                f"expected prompts of at most {limit} tokens, which the text tower reads, but {prompt[:40]!r}… has "
                f"{length}; shorten it."
            )
