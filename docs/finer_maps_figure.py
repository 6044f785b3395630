"""The picture of docs/finer_maps.md: one lead, drawn on the last maps, on finer ones, and at two scales.

    python docs/finer_maps_figure.py            # writes docs/figures/finer-maps.png

The photographs come with scikit-learn and matplotlib: a flower by vultilion (Creative Commons BY 2.0), and Grace Hopper
(United States Navy, public domain). Each class has two supports, other parts of the photographs, mirrored.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.cbook
import matplotlib.pyplot as plt
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from fsl_explain import Encoder, explain

OUT = Path(__file__).parent / "figures" / "finer-maps.png"
SIDE = 448
KINDS = (
    ("last maps, 7×7", {}),
    ("detail=1, 14×14", {"detail": 1}),
    ("detail=1, biases apart", {"detail": 1, "biases": "apart"}),
    ("scales 224 and 448, detail=1", {"detail": 1, "scales": (224, 448)}),
)


def main() -> None:
    """Draw the picture."""
    flower = Image.fromarray(load_sample_image("flower.jpg"))
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        person = Image.open(file).convert("RGB")
    query = collage(flower.crop((120, 20, 520, 420)), person.crop((0, 0, 512, 512)))
    encoder = Encoder.named("efficientnet-lite0").at_scales((224, 448))
    supports = {
        "flower": [ImageOps.mirror(flower.crop(box)) for box in ((60, 0, 480, 420), (180, 40, 560, 420))],
        "person": [ImageOps.mirror(person.crop(box)) for box in ((0, 0, 500, 500), (20, 60, 512, 552))],
    }
    prepared = {name: encoder.preprocess(images) for name, images in supports.items()}
    single = Encoder.named("efficientnet-lite0")
    small = {name: single.preprocess(images) for name, images in supports.items()}
    at_scales = (encoder, encoder.preprocess([query])[0], prepared)
    at_one = (single, single.preprocess([query])[0], small)
    figure, axes = plt.subplots(2, len(KINDS) + 1, figsize=(12, 5.8))
    for row, name in zip(axes, supports, strict=True):
        row[0].imshow(query)
        row[0].set_title(f"why {name}?", fontsize=11)
        for axis, (title, options) in zip(row[1:], KINDS, strict=True):
            asked = at_scales if "scales" in options else at_one
            found = explain(*asked, method="contrast", target=name, **options)
            limit = float(found.saliency.abs().max())
            axis.imshow(query.resize(found.saliency.shape[::-1]).convert("L"), cmap="gray", alpha=0.55)
            axis.imshow(found.saliency, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.6)
            above = f"{title}\n" if name == next(iter(supports)) else ""
            axis.set_title(f"{above}lead {float(found.score):+.3f}", fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    figure.text(0.01, 0.01, "Flower: vultilion, CC BY 2.0. Grace Hopper: US Navy, public domain.", fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1), h_pad=2.0)
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=64)
    with Image.open(OUT) as drawn:
        drawn.convert("RGB").quantize(200).save(OUT, optimize=True)


def collage(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return a square image with one photograph in its upper left and one in its lower right."""
    found = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    half = SIDE * 5 // 9
    found.paste(left.resize((half, half)), (0, 0))
    found.paste(right.resize((half, half)), (SIDE - half, SIDE - half))
    return found


if __name__ == "__main__":
    main()
