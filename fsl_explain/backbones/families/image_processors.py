"""The preparation of images that an image processor of transformers describes, as one that moves boxes along.

Where an odd number of pixels is cut away, transformers leaves one more on the other side than torchvision does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from episodes.errors import Mistake
from fsl_explain.backbones.preprocessing import Preprocessing

KNOWN = ("Bit", "CLIP", "ConvNext", "DeiT", "DINOv3ViT", "Siglip", "ViT")
INTERPOLATION = {0: "nearest", 2: "bilinear", 3: "bicubic"}
LARGE = 384  # from here on ConvNeXt's images are squeezed, and nothing is cut


def preprocessing_of_folder(transformers: Any, folder: Path, name: str) -> Preprocessing | None:
    """Return the preparation that a folder describes, or None where it describes none.

    Raises: ``ValueError`` for one that cannot be written as resizing, cutting the center and normalizing.
    """
    if not any((folder / file).is_file() for file in ("preprocessor_config.json", "processor_config.json")):
        return None
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        facts = {**processor.to_dict(), "image_processor_type": type(processor).__name__}
    except Exception as error:  # a configuration may be wrong in any way
        raise Mistake(
            f"expected an image processor in {name}, but its preprocessor_config.json gives none ({error}); check it."
        ) from error
    return preprocessing_of(facts, name)


def preprocessing_of(facts: Mapping[str, Any], name: str) -> Preprocessing:
    """Return the preparation that the settings of an image processor describe.

    Raises: ``ValueError`` for a kind that is not known, or images that are not resized to squares.
    """
    kind = str(facts.get("image_processor_type", "")).removesuffix("Fast").removesuffix("ImageProcessor")
    if kind not in KNOWN or not facts.get("do_resize", True) or not facts.get("do_rescale", True):
        raise Mistake(
            f"expected images of {name} to be resized and scaled by a processor among {', '.join(KNOWN)}, but its "
            f"preprocessor_config.json says {kind or 'none'}; build it yourself and use Encoder.wrap with preprocess=."
        )
    if abs(float(facts.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise Mistake(f"expected {name} to scale pixels by 1/255, but it does by {facts['rescale_factor']}; wrap it.")
    normalizes = bool(facts.get("do_normalize", True))
    side, resize, squeeze = _sides(facts, name, kind)
    return Preprocessing(
        side,
        mean=tuple(facts["image_mean"]) if normalizes else (0.0,) * 3,
        std=tuple(facts["image_std"]) if normalizes else (1.0,) * 3,
        resize=resize,
        squeeze=squeeze,
        interpolation=INTERPOLATION.get(int(facts.get("resample", 2)), str(facts.get("resample"))),
    )


def _sides(facts: Mapping[str, Any], name: str, kind: str) -> tuple[int, int | None, bool]:
    """Return the side of the images, what is resized before the center is cut, and whether that is both sides."""
    size, crop = dict(facts["size"]), facts.get("crop_size") if facts.get("do_center_crop") else None
    shortest = size.get("shortest_edge")
    if kind == "ConvNext" and shortest is not None:
        if shortest >= LARGE:
            return shortest, None, False
        return shortest, int(shortest / float(facts.get("crop_pct") or 224 / 256)), False
    cut = None if crop is None else dict(crop)
    if cut is not None and cut["height"] == cut["width"] and shortest is not None:
        return cut["height"], shortest, False
    if shortest is None and size["height"] == size["width"]:
        if cut is None:
            return size["height"], None, False
        if cut["height"] == cut["width"]:
            return cut["height"], size["height"], True
    raise Mistake(
        f"expected {name} to want square images, but its preprocessor_config.json resizes to {size} and cuts {cut}; "
        "build it yourself and use Encoder.wrap with preprocess=."
    )
