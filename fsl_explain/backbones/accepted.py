"""What an encoder is made of and what it is called with: anything else is refused in one sentence."""

from torch import Tensor, nn

from episodes.errors import Mistake, WrongType
from fsl_explain.config import HeadConfig


def expect_module(part: object, name: str) -> None:
    """Refuse what is no module in the place of an encoder's ``name``. Raises: ``TypeError``."""
    if isinstance(part, nn.Module):
        return
    got = f"the class {part.__name__}; write {part.__name__}(…)" if isinstance(part, type) else type(part).__name__
    advice = "; a layer may be named in Encoder.wrap" if name == "layer" and isinstance(part, str) else ""
    raise WrongType(f"expected a torch.nn.Module as the {name} of an encoder, but got {got}{advice}.")


def expect_parts(network: object, layer: object, head: object, preprocess: object) -> None:
    """Refuse parts that are no modules, or a preprocessing that cannot be called. Raises: ``TypeError``."""
    expect_module(network, "network")
    for part, name in ((layer, "layer"), (head, "head")):
        if part is not None:
            expect_module(part, name)
    if preprocess is not None and not callable(preprocess):
        raise WrongType(
            "expected a preprocess that makes a tensor (color, height, width) of a PIL image, but got "
            f"{type(preprocess).__name__}; give a function or a transform."
        )


def expect_head(head: object) -> None:
    """Refuse a head of a named encoder that is neither a module nor described. Raises: ``TypeError``."""
    if head is not None and not isinstance(head, nn.Module | HeadConfig):
        raise WrongType(
            f"expected a head as a torch.nn.Module or a HeadConfig, but got {type(head).__name__}; "
            "HeadConfig(kind='none') is none."
        )


def expect_images(images: object) -> None:
    """Refuse what is no batch of preprocessed images.

    Raises: ``TypeError`` for anything but a tensor; ``ValueError`` for one of other than four dimensions.
    """
    if not isinstance(images, Tensor):
        raise WrongType(
            f"expected a batch of preprocessed images, one tensor, but got {type(images).__name__}; use "
            "encoder.preprocess(images)."
        )
    if images.dim() != 4:
        advice = "; give image[None] for a single one" if images.dim() == 3 else ""
        raise Mistake(
            f"expected a batch of images (batch, color, height, width), but got shape {tuple(images.shape)}{advice}."
        )
