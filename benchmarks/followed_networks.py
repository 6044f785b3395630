"""Which networks of timm and torchvision are followed back to finer maps, and whether the receipt adds up.

    OMP_NUM_THREADS=1 python benchmarks/followed_networks.py [timm:resnet10t …]

Random weights and images; each network at detail 1 and 2: the grid, and what cells and bias miss of the lead over
Σ|terms|, in float32; or the sentence that refuses it.
"""

import argparse

import torch

from episodes.errors import Mistake
from fsl_explain import Encoder, explain

TIMM = (
    "resnet10t", "seresnet18", "skresnet18", "resnetv2_18", "nf_regnet_b0", "regnetx_002", "regnety_002", "repvgg_a0",
    "convnext_atto", "convnextv2_atto", "convmixer_768_32", "poolformer_s12", "convformer_s18", "inception_next_atto",
    "efficientnet_lite0", "tf_efficientnetv2_b0", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "mnasnet_small", "lcnet_050", "tinynet_e", "ghostnet_050", "densenet121", "starnet_s1", "repvit_m0_9",
    "efficientvit_b0", "fastvit_t8", "rexnet_100", "ese_vovnet19b_dw", "dla34", "dpn68", "hrnet_w18_small",
    "cspresnet50", "inception_v4", "xception41", "hardcorenas_a", "selecsls42b", "res2net50_26w_4s", "resnest14d",
    "coatnet_nano_rw_224", "maxvit_pico_rw_256", "edgenext_xx_small", "mobilevit_xxs",
)  # fmt: skip
TORCHVISION = ("mobilenet_v3_small", "efficientnet_v2_s", "regnet_x_400mf", "googlenet", "inception_v3", "swin_t")


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [*(f"timm:{name}" for name in TIMM), *(f"torchvision:{name}" for name in TORCHVISION)]
    parser.add_argument("names", nargs="*", default=usual)
    torch.set_num_threads(1)
    for name in parser.parse_args().names:
        encoder = Encoder.named(name)
        torch.manual_seed(0)
        side = encoder.image_size or 224
        query, supports = torch.randn(1, 3, side, side), torch.randn(2, 1, 3, side, side)
        print(name, *(outcome(encoder, query, supports, detail) for detail in (1, 2)), sep="; ", flush=True)


def outcome(encoder: Encoder, query: torch.Tensor, supports: torch.Tensor, detail: int) -> str:
    """Return the grid and what the receipt misses, or why there is none."""
    try:
        found = explain(encoder, query, supports, method="contrast", detail=detail)
    except Mistake as error:
        return str(error)
    terms = found.cells.abs().sum() + found.bias.abs()
    missed = (found.score - found.cells.sum(dim=(-2, -1)) - found.bias).abs() / terms
    return f"{found.cells.shape[-2]}×{found.cells.shape[-1]}, misses {float(missed):.0e}"


if __name__ == "__main__":
    main()
