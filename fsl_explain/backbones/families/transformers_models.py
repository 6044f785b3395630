"""Vision models of transformers, from a folder with ``config.json`` or by the name of a published one.

The embedding is what the class of the model returns as such: projected, pooled, or its class token. Weights are read
from ``model.safetensors`` or ``pytorch_model.bin`` beside the configuration, as data; code of a folder is never run.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.families.family import Member, checked_download, library
from fsl_explain.backbones.families.image_processors import preprocessing_of_folder
from fsl_explain.backbones.families.text_part import TextPart
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.backbones.text import TextTower

OPTIONS = ("download",)
OF_IMAGES = ("vision_model", "visual_projection")
FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
FETCHED = [
    *("config.json", "preprocessor_config.json", "processor_config.json", *FILES),
    *("tokenizer_config.json", "special_tokens_map.json", "merges.txt", *TOKENIZERS),
]
SIDE = 224
BESIDE = (
    *("classifier.", "cls_classifier.", "distillation_classifier.", "pooler.", "decoder.", "lm_head."),
    *("text_model.", "text_projection.", "logit_scale", "logit_bias"),
)
"""How tensors begin that files hold beside a vision model: heads, and the other half of models of images and texts."""


def build(name: str, size: int | None, download: object = False) -> Member:
    """Build the vision model of a folder, or of a published name that is at hand; with ``download`` it is fetched.

    A folder without weights gives random ones. Of a model of images and texts it is the part for images.

    Raises: ``ValueError`` for a folder that describes no vision model, ``ImportError`` without transformers.
    """
    transformers = library("transformers", "transformers", name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _fetched(name, checked_download(download))
    network = _network(transformers, folder, name)
    side = _side(network)
    preprocessing = preprocessing_of_folder(transformers, folder, name) or Preprocessing(size or side or SIDE)
    weights = next((folder / file for file in FILES if (folder / file).is_file()), None)
    own = tuple(network.state_dict())
    beside = tuple(stem for stem in BESIDE if not any(known.startswith(stem) for known in own))
    text = _text_part(transformers, folder, name)
    return Member(
        network,
        preprocessing,
        None,
        side or preprocessing.size,
        classifiers=beside,
        checkpoint=weights,
        outcome=embedding_of,
        rename=renamed,
        text=text if isinstance(text, TextPart) else None,
        without_text=text if isinstance(text, str) else "",
    )


def _text_part(transformers: Any, folder: Path, name: str) -> TextPart | str | None:
    """Return the rest of a model of images and texts without its image tower, or what its folder lacks for it."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not hasattr(config, "text_config"):
        return None
    if not any((folder / file).is_file() for file in TOKENIZERS):
        return f"{name} holds no tokenizer, as {', '.join(TOKENIZERS[:-1])} or {TOKENIZERS[-1]}; put its files there"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        made = transformers.AutoModel.from_config(config, dtype=torch.float32)
    except Exception as error:  # a configuration may be wrong in any way
        raise Mistake(
            f"expected a model of images and texts with its tokenizer in {name}, but they cannot be built ({error}); "
            "check the folder."
        ) from error
    if not hasattr(made, "get_text_features"):
        return None
    for part in [part for part in OF_IMAGES if hasattr(made, part)]:
        setattr(made, part, nn.Identity())
    return TextPart(TextTower.of_transformers(made, tokenizer), renamed, ())


def embedding_of(output: Any) -> Tensor | None:
    """Return what a vision model gives as its embedding: projected, pooled, or the first of its tokens."""
    for field in ("image_embeds", "pooler_output"):
        found = getattr(output, field, None)
        if isinstance(found, Tensor):
            return found
    tokens = getattr(output, "last_hidden_state", None)
    return tokens[:, 0] if isinstance(tokens, Tensor) and tokens.dim() == 3 else None


def renamed(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors of a file as the model names them, by transformers' own rules for the names of older files."""
    try:
        loading = import_module("transformers.core_model_loading")
        rules: Any = import_module("transformers.conversion_mapping")
        names = [rule for rule in rules.get_model_conversion_mapping(network) if type(rule) is loading.WeightRenaming]
        own, prefix = network.state_dict(), network.base_model_prefix
        return {loading.rename_source_key(name, names, [], prefix, own)[0]: value for name, value in state.items()}
    except Exception:  # what does not fit is told by the names that are missing then
        return state


def _fetched(name: str, download: bool) -> Path:
    hub = library("huggingface_hub", "transformers", name)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=FETCHED, local_files_only=not download))
    except Exception as error:  # of the network, or of a name that cannot be one
        then = "check the name" if download else "give a folder, or download=true"
        raise Mistake(
            f"expected a folder with config.json as transformers:{name}, but there is none, and no published model of "
            f"that name is at hand ({type(error).__name__}); {then}."
        ) from error


def _network(transformers: Any, folder: Path, name: str) -> nn.Module:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network = _of_config(transformers, config)
    except Exception as error:  # a configuration may be wrong in any way
        raise Mistake(
            f"expected a vision model of transformers in {name}, but its config.json gives none ({error}); check the "
            "folder."
        ) from error
    if network.main_input_name != "pixel_values":
        raise Mistake(
            f"expected a vision model in {name}, but {type(network).__name__} reads {network.main_input_name}; choose "
            "another folder."
        )
    return network


def _of_config(transformers: Any, config: Any) -> nn.Module:
    """Build the part for images that a configuration describes, in float32, without a pooling that only pretrains."""
    projected = config.model_type == "clip" or "CLIPVisionModelWithProjection" in (config.architectures or ())
    vision = getattr(config, "vision_config", config)
    if projected:
        vision.projection_dim = config.projection_dim
        made: nn.Module = transformers.CLIPVisionModelWithProjection._from_config(vision, dtype=torch.float32)
        return made
    kind = transformers.AutoModel._model_mapping[type(vision)]
    built: nn.Module = kind._from_config(vision, dtype=torch.float32)
    if hasattr(getattr(built, "pooler", None), "dense"):  # it serves the pretraining of ViT, and no classifier reads it
        built = kind._from_config(vision, dtype=torch.float32, add_pooling_layer=False)
    return built


def _side(network: nn.Module) -> int | None:
    config: Any = network.config
    side = getattr(config, "image_size", None)
    side = side[0] if isinstance(side, list | tuple) and len(set(side)) == 1 else side
    return side if isinstance(side, int) else None
