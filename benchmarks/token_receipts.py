"""Do explanations of today's encoders add up, do they read what the network outputs, and what do they cost?

    OMP_NUM_THREADS=1 python benchmarks/token_receipts.py --repeats 5

One row an architecture and readout, with random weights drawn so that attention is uneven: how far the embedding is
from the network's own output, relative to its norm, in float32 and float64 (the encoder runs images in another memory
layout, in which convolutions round otherwise); the residual of a contrast's receipt relative to the sum of the
absolute terms, in float32 and float64; and the time of the explanation over one forward pass of the network on the
same images, one unless ``--batch`` says more. ``floor`` is the time to multiply every matrix of the blocks with one
vector forwards, for channels, and backwards, for cells, over the same pass: what a class readout of one image cannot do
without, whatever else it does. All are medians of processor time of this thread, measured in turn. ``integrated`` runs
the network again for every step.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import open_clip
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

import fsl_explain
from fsl_explain.explainers import METHODS
from fsl_explain.explainers.choice import Choice, ask
from fsl_explain.explainers.compared import Compared, compare

CLASS = ("class", "class-direct", "class-last", "mean", "class+mean")
OWN = (None,)
SHARPER = 3.0  # queries and keys are drawn this much larger, so that attention is uneven
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str | None, ...], int]] = {}


def network(
    name: str, readouts: tuple[str | None, ...] = OWN, size: int = 224
) -> Callable[..., Callable[..., nn.Module]]:
    """Register a builder under a name."""

    def keep(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        NETWORKS[name] = (build, readouts, size)
        return build

    return keep


def of_timm(name: str, readouts: tuple[str | None, ...] = OWN, size: int = 224, **options: object) -> None:
    """Register a network of timm."""
    network(f"timm {name}", readouts, size)(lambda: timm.create_model(name, num_classes=0, **options))


of_timm("vit_small_patch16_224", CLASS)
of_timm("vit_small_patch16_224", CLASS)
of_timm("vit_small_r26_s32_224", ("class",))
of_timm("vit_small_patch14_reg4_dinov2", CLASS, img_size=224)
of_timm("deit_small_distilled_patch16_224", ("class", "class-direct", "class-last", "mean"))
of_timm("vit_small_patch16_dinov3", ("class", "mean"), 256)
of_timm("eva02_small_patch14_224", ("mean", "class"))
of_timm("cait_xxs24_224", ("class",))
of_timm("vit_base_patch16_siglip_224", ("attention-pool", "mean"))
of_timm("vit_base_patch16_clip_224", ("class",))
of_timm("vit_base_patch16_gap_224", ("mean",))
of_timm("resnet50_clip", ("attention-pool",))
for known in ("swin_tiny_patch4_window7_224", "convnext_tiny", "maxvit_tiny_tf_224", "swinv2_tiny_window8_256"):
    of_timm(known, OWN, 256 if "256" in known else 224)


@network("torchvision vit_b_16", ("class",))
def _torchvision() -> nn.Module:
    return torchvision.models.vit_b_16()


@network("open_clip ViT-B-32", ("class", "class-direct"))
def _open_clip() -> nn.Module:
    return open_clip.create_model("ViT-B-32").visual


@network("open_clip RN50", ("attention-pool",))
def _open_clip_resnet() -> nn.Module:
    return open_clip.create_model("RN50").visual


@network("transformers Dinov2", CLASS)
def _dinov2() -> nn.Module:
    sizes = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 224}
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes))


@network("transformers DINOv3", ("class",))
def _dinov3() -> nn.Module:
    sizes = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_register_tokens": 4}
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**sizes))


@network("transformers SigLIP", ("attention-pool",))
def _siglip() -> nn.Module:
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig())


@network("transformers CLIP", ("class",))
def _clip() -> nn.Module:
    return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig())


def shaken(made: nn.Module) -> nn.Module:
    """Draw every parameter anew, norms, biases and layer scales among them."""
    draw = torch.Generator().manual_seed(0)
    for name, parameter in made.named_parameters():
        if parameter.dim() > 1:
            asks = any(part in name for part in ("qkv", "q_proj", "k_proj", "in_proj", "attn.q.", "attn.k."))
            width = parameter[0].numel() ** 0.5
            parameter.data.normal_(generator=draw).mul_((SHARPER if asks else 1.0) / width)
        elif name.endswith("weight") or any(part in name for part in ("gamma", "lambda", "scale")):
            parameter.data.uniform_(0.5, 1.5, generator=draw)
        else:
            parameter.data.normal_(generator=draw).mul_(0.2)
    return made.eval()


def own_output(encoder: fsl_explain.Encoder, images: Tensor) -> Tensor | None:
    """Return the embedding that the network itself outputs, where it outputs one."""
    with torch.no_grad():
        output = encoder.network(images)
    if isinstance(output, Tensor):
        return output
    return next((output[name] for name in ("image_embeds", "pooler_output") if output.get(name) is not None), None)


def residual(explanation: fsl_explain.Explanation) -> float:
    """Return what the cells and the bias miss of the score, over the sum of the absolute terms."""
    one = explanation
    rest = one.bias - sum(one.named.values(), torch.zeros_like(one.bias))
    terms = one.cells.double().abs().sum() + sum(value.abs() for value in one.named.values()) + rest.abs()
    return float((one.exact_score - one.cells.double().sum() - one.bias).abs() / terms)


def fresh(compared: Compared) -> Compared:
    """Return the same with a trace of which nothing has been worked out."""
    trace = compared.features.trace
    again = None if trace is None else trace.of(list(trace.parts()))
    return replace(compared, features=replace(compared.features, trace=again))


def cost(encoder: fsl_explain.Encoder, query: Tensor, compared: Compared, repeats: int) -> tuple[float, float]:
    """Return the time of a contrast's cells, channels and named addends over that of the network's forward pass, and
    that of reading the blocks' weights forwards and backwards.
    """
    passes, explained, reads = [], [], []
    blocks = [] if encoder.tokens is None else encoder.tokens.parts.blocks
    matrices = [values.detach() for block in blocks for values in block.parameters() if values.dim() == 2]
    vectors = {width: torch.randn(width) for width in {width for matrix in matrices for width in matrix.shape}}
    for _ in range(repeats + 1):
        with torch.no_grad():
            begun = time.thread_time()
            encoder.network(query)
            passes.append(time.thread_time() - begun)
        question = ask(fresh(compared), Choice(), "contrast")
        begun = time.thread_time()
        METHODS["contrast"].attribute(question)
        explained.append(time.thread_time() - begun)
        begun = time.thread_time()
        for matrix in matrices:
            torch.mv(matrix, vectors[len(matrix.T)])
        for matrix in reversed(matrices):
            torch.mv(matrix.T, vectors[len(matrix)])
        reads.append(time.thread_time() - begun)
    over = statistics.median(passes[1:])
    return statistics.median(explained[1:]) / over, statistics.median(reads[1:]) / over


def rows(name: str, repeats: int, batch: int) -> Iterator[str]:
    """Measure an architecture, one row a readout."""
    build, readouts, size = NETWORKS[name]
    made = shaken(build())
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(5, 3, size, size, generator=draw)
    for readout in readouts:
        found, agrees = {}, {}
        for dtype in (torch.float32, torch.float64):
            made.to(dtype)
            encoder = wrapped(name, made, readout, dtype)
            query, supports = images[:1].to(dtype), images[1:].to(dtype)
            embedded = encoder(supports).embedding.unflatten(0, (2, 2))
            explanation = fsl_explain.explain(encoder, query, embedded, method="contrast")[0]
            found[dtype], agrees[dtype] = residual(explanation), apart(own_output(encoder, query), encoder(query))
            if dtype == torch.float32:
                share = explanation.query.share_of_cells or 0.0
                asked = torch.randn(batch, 3, size, size, generator=draw)
                ratio, read = cost(encoder, asked, compare(encoder, asked, embedded), repeats)
        grid = "×".join(map(str, explanation.cells.shape))
        yield (
            f"{name:37} {readout or 'pooled maps':15} {agrees[torch.float32]:>8} {agrees[torch.float64]:>8} "
            f"{found[torch.float32]:9.0e} {found[torch.float64]:9.0e} {share:6.0%} {grid:>7} {ratio:7.2f} {read:7.2f}"
        )


def apart(own: Tensor | None, features: fsl_explain.Features) -> str:
    """Return how far an embedding is from the network's own, relative to its norm; "another" where it is of another."""
    if own is None or own.shape != features.embedding.shape:
        return "another"
    distance = float((features.embedding - own).norm() / own.norm())
    return "another" if distance > 1e-2 else f"{distance:.0e}"


def wrapped(name: str, made: nn.Module, readout: str | None, dtype: torch.dtype) -> fsl_explain.Encoder:
    """Return an encoder of tokens, or of a timm network's last maps with what it does behind them."""
    if readout is not None:
        return fsl_explain.Encoder.wrap(made, readout=readout)
    encoder = fsl_explain.Encoder.named(f"timm:{name.removeprefix('timm ')}")
    shaken(encoder.network).to(dtype)
    encoder.head.to(dtype)
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures; all of them without any")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1, help="images of which the cost is measured together")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"{'architecture':37} {'readout':15} {'own':>8} {'own 64':>8} {'float32':>9} {'float64':>9} {'cells':>6} "
        f"{'grid':>7} {'cost':>7} {'floor':>7}"
    )
    for name in options.names or NETWORKS:
        for row in rows(name, options.repeats, options.batch):
            print(row, flush=True)


if __name__ == "__main__":
    main()
