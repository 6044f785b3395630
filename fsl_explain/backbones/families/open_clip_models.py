"""The towers for images of open_clip's models by name: what they return is compared with texts and images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.families.family import Member, as_they_are, checked_download, library, local_file
from fsl_explain.backbones.families.text_part import TextPart
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.backbones.text import TextTower

OPTIONS = ("download",)
OF_OPENAI = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's files of CLIP hold beside the weights, and nobody else's."""
BESIDE = (
    "text.",
    "transformer.",
    "token_embedding.",
    "positional_embedding",
    "text_projection",
    "ln_final.",
    "logit_",
    "attn_mask",
)
SQUEEZED, CUT = "squash", "shortest"


def build(name: str, size: int | None, download: object = False) -> Member:
    """Build the tower for images of ``name`` or ``name/weights``, a file or the tag of published weights.

    Published weights are fetched only with ``download``. The tower is built for images of ``size``.

    Raises: ``LookupError`` with the nearest names; ``ImportError`` without open_clip; ``ValueError`` for a file that is
    not there, weights that cannot be fetched, or images that are padded or no squares.
    """
    open_clip = library("open_clip", "open_clip", name)
    model, _, weights = name.partition("/")
    if model not in open_clip.list_models():
        raise unknown_name("open_clip network", model, open_clip.list_models())
    tag = weights if weights and checked_download(download) else None
    file = local_file(_absolute(weights)) if weights and tag is None else None
    made = _made(open_clip, model, size, tag)
    tower: nn.Module = made.visual
    preprocessing = preprocessing_of(open_clip.get_model_preprocess_cfg(_Owner(tower)), f"open_clip:{name}")
    words = None if tag is None else f"open_clip weights {tag}"
    text = _text_part(open_clip, model, made, checked_download(download))
    return Member(
        tower,
        preprocessing,
        words,
        preprocessing.size,
        classifiers=tuple(
            stem for stem in (*BESIDE, *OF_OPENAI) if not any(known.startswith(stem) for known in tower.state_dict())
        ),
        checkpoint=file,
        rename=partial(_of_this_activation, name=model),
        outcome=embedding_of,
        text=text if isinstance(text, TextPart) else None,
        without_text=text if isinstance(text, str) else "",
    )


def _of_this_activation(state: Mapping[str, Tensor], tower: nn.Module, name: str) -> Mapping[str, Tensor]:
    """Return the tensors as they are. Raises: ``ValueError`` for OpenAI's in a transformer with another activation."""
    quick = any(type(module).__name__ == "QuickGELU" for module in tower.modules())
    gelu = any(isinstance(module, nn.GELU) for module in tower.modules())
    if gelu and not quick and any(key.rpartition(".")[2] in OF_OPENAI for key in state):
        raise Mistake(
            f"expected weights for open_clip:{name}, whose activation is GELU, but the file is OpenAI's, trained with "
            f"QuickGELU; use open_clip:{name}-quickgelu."
        )
    return state


def _text_part(open_clip: Any, name: str, made: Any, download: bool) -> TextPart | str:
    """Take the image tower out of a model and return the rest, or why its tokenizer is not at hand and what to do."""
    published = (open_clip.get_model_config(name) or {}).get("text_cfg", {}).get("hf_tokenizer_name")
    try:
        tokenizer = open_clip.get_tokenizer(name, **({"local_files_only": not download} if published else {}))
    except ImportError as error:
        return f"the package of its tokenizer is not installed ({error}); pip install fsl-explain[transformers]"
    except Exception as error:  # of the network, or of the tokenizer's files
        why = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        return f"its tokenizer {published or name} is not at hand ({why}); fetch it once with download=True"
    of_images, made.visual = tuple(made.visual.state_dict()), nn.Identity()
    return TextPart(TextTower.of_open_clip(made, tokenizer), as_they_are, of_images)


def embedding_of(output: Any) -> Tensor | None:
    """Return the embedding among what a tower returns, which is it alone or it and the tokens."""
    found = output[0] if isinstance(output, tuple) and output else output
    return found if isinstance(found, Tensor) else None


def preprocessing_of(facts: dict[str, Any], owner: str) -> Preprocessing:
    """Return the preparation that open_clip's facts of a tower describe.

    Raises: ``ValueError`` for images that are padded or no squares.
    """
    size = facts.get("size", 224)
    sides = set(size) if isinstance(size, list | tuple) else {size}
    mode = facts.get("resize_mode", CUT)
    if len(sides) != 1 or mode not in (CUT, SQUEEZED):
        raise Mistake(
            f"expected {owner} to want square images, cut at the center or squeezed, but it wants {size}, {mode}; "
            "build it yourself and use Encoder.wrap with preprocess=."
        )
    side = int(sides.pop())
    return Preprocessing(
        side,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        resize=side if mode == CUT else None,
        interpolation=facts.get("interpolation", "bicubic"),
    )


class _Owner:
    """What open_clip asks for the facts of a tower."""

    def __init__(self, tower: nn.Module) -> None:
        self.visual = tower


def _made(open_clip: Any, name: str, size: int | None, tag: str | None) -> Any:
    try:
        return open_clip.create_model(name, pretrained=tag, load_weights=tag is not None, force_image_size=size)
    except Exception as error:
        if tag is None:
            raise
        raise Mistake(
            f"expected published weights {tag} for open_clip:{name}, but open_clip could not fetch them ({error}); "
            "give a file behind the name."
        ) from error


def _absolute(weights: str) -> str:
    """Return the path behind the name: the slash before it may be its own first."""
    return weights if Path(weights).expanduser().is_file() or not Path(f"/{weights}").is_file() else f"/{weights}"
