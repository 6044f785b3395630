"""Encoders: from images to activation maps, pooled values and embeddings, with the network left untouched."""

from copy import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes import direct_resize
from episodes.errors import WrongType
from fsl_explain.backbones.accepted import expect_head, expect_images, expect_module, expect_parts
from fsl_explain.backbones.batch_dependence import warn_of_mixing
from fsl_explain.backbones.capture import evaluating, find_layer
from fsl_explain.backbones.drawn_finer import DrawnFiner
from fsl_explain.backbones.equal_form import in_form
from fsl_explain.backbones.inference_modes import AUTO, EAGER, in_range
from fsl_explain.backbones.named import IMAGENET_MEAN, IMAGENET_STD, build_named
from fsl_explain.backbones.named_network import NamedNetwork
from fsl_explain.backbones.own import made_by
from fsl_explain.backbones.placed import Placed
from fsl_explain.backbones.prepared import Prepared, Preprocess, pattern
from fsl_explain.backbones.reading import Reading
from fsl_explain.backbones.tail import IGNORE, NETWORK, Tail
from fsl_explain.backbones.text import Prompted, TextTower
from fsl_explain.backbones.tokens.integrated import INTEGRATED, patches_apart
from fsl_explain.backbones.tokens.reading import TokenReading
from fsl_explain.backbones.tokens.recognizing import tokens_of
from fsl_explain.backbones.weights.checkpoint import check_usable
from fsl_explain.config import EncoderConfig, HeadConfig
from fsl_explain.devices import at_hand, in_full_precision, module_at_hand, module_in_full_precision
from fsl_explain.features import Features
from fsl_explain.heads import POOLINGS, Pooling
from fsl_explain.heads.by_network import by_network
from fsl_explain.heads.per_scale import per_scale
from fsl_explain.registries import is_own_encoder
from fsl_explain.scales import Scaled, seen_at

__all__ = ["Encoder", "Features", "Preprocess", "expect_encoder", "in_full_precision"]


class Encoder(Scaled, Prepared, Prompted, Placed, DrawnFiner):
    """A network seen as images → activation maps → pooled → embedding.

    Calling it runs in eval mode without gradients, on the network's own device and in its own dtype, and gives the
    network back as it was. What a network in half precision computes is pooled and embedded in float32, by a copy of
    its head where that is in half precision too; what it computes on a device without float64 is pooled and embedded on
    the CPU.

    ``layer`` is the module whose output are the maps; None: they are what the network returns. ``pooling`` is a name in
    ``POOLINGS`` or an object. ``head`` goes on from the pooled values; None: they are the embedding. ``preprocess`` and
    ``readout`` are as ``wrap`` says, and so is ``text``. ``description`` is what messages and reports call the encoder.

    ``inference`` is ``eager``, the network itself; ``folded``, a copy of it as it is now, channels last and with batch
    normalization folded into the convolutions before it, which is faster and equal up to rounding; ``bf16`` or
    ``fp16``, that copy in half precision; or ``compiled``, the folded copy through ``torch.compile``: the first image
    and the first batch, and those of another side, take up to minutes. ``auto`` is ``folded`` where a picture has the
    same maps and outputs to 1e-5 of their length, else ``eager``; the attribute says which. ``layout`` says how the
    maps lie: ``channels-first``, (batch, channel, h, w); ``channels-last``, (batch, h, w, channel); or ``tokens``,
    (batch, token, channel) of a square grid. None recognizes the first two, with one more forward pass where it must,
    and refuses what it cannot tell. Where the network itself goes on to something else than the pooled maps of
    ``layer``, the first call warns of it; a ``head`` answers that, and so does ``tail="ignore"``. With
    ``tail="network"`` the embedding is what the network itself returns, which a ``head`` may go on from: all of it that
    lies behind ``layer`` is then explained by integration, with no pooling.

    ``network``, ``layer``, ``pooling``, ``head``, ``text``, ``inference`` and ``description`` are attributes, too, and
    ``transform`` is the preprocessing. ``random`` names the parts, network and head, that are known to have random
    weights; ``unfilled`` the parameters behind the layer that a checkpoint did not hold; ``centered_on`` says in words
    on which images' mean the embeddings are centered, "" for none.

    Raises: ``LookupError`` for an option by a name that is not there; ``TypeError`` for parts that are no modules;
    ``ValueError`` for weights that are not finite, and for a readout or a tail that the network cannot have.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        layer: nn.Module | None = None,
        pooling: str | Pooling = "gap",
        head: nn.Module | None = None,
        preprocess: Preprocess | None = None,
        description: str = "",
        inference: str = "eager",
        layout: str | None = None,
        tail: str | None = None,
        readout: str | None = None,
        text: TextTower | None = None,
    ) -> None:
        expect_parts(network, layer, head, preprocess)
        self.text: TextTower | None = text
        self.description: str = description or type(network).__name__
        if readout == INTEGRATED:
            inference = EAGER if inference == AUTO else inference
            network, layer, layout, tail, readout = patches_apart(network, layer, self.description, inference)
        self.pooling: Pooling = by_network(pooling, layer) if tail == NETWORK else POOLINGS.find(pooling)
        self.head: nn.Module = nn.Identity() if head is None else module_in_full_precision(head)
        self.transform: Preprocess = preprocess or direct_resize(224, IMAGENET_MEAN, IMAGENET_STD)
        check_usable(network, self.description)
        formed = in_form(network, layer, inference, lambda: self.preprocess([pattern()]))
        self.inference: str = formed[0]
        self.network: nn.Module = formed[1]
        self.layer: nn.Module | None = formed[2]
        warn_of_mixing(self.network, self.head, owner=self.description)
        self.random: tuple[str, ...] = ()
        self.centered_on = ""
        self.unfilled: tuple[str, ...] = ()
        told = Tail(self.description, tail, silent=layer is None or head is not None)
        self.reading: Reading = Reading(self.network, self.layer, layout, told, self.inference)
        self.tokens: TokenReading | None = tokens_of(*formed[1:], layout, readout, self.description, self.inference)
        if self.tokens is not None:
            self.pooling = self.tokens.pooling(self.pooling)
            self.head = nn.Sequential(module_in_full_precision(self.tokens.head), self.head)

    @classmethod
    def named(
        cls,
        name: str,
        *,
        checkpoint: str | Path | None = None,
        pooling: str | Pooling | None = None,
        head: nn.Module | HeadConfig | None = None,
        inference: str = "eager",
        tail: str | None = None,
        readout: str | None = None,
        **architecture: Any,
    ) -> "Encoder":
        """Build an encoder by name, with the pooling and the head of its paper unless others are given.

        Few-shot, for images of 84×84 and with LeakyReLU 0.1: ``conv4net``, ``conv64f``, ``resnet12``, ``resnet18`` and
        ``wrn-28-10``; with ReLU: ``can-resnet12``. Metric learning, with max pooling, a linear head and BGR images of
        227×227: ``bn-inception``. Self-supervised, with heads of 128 channels: ``npid-resnet18``, ``npid-resnet50``,
        ``moco-resnet50`` and ``moco-v2-resnet50``; without a head: ``simclr-resnet50`` and ``swav-resnet50``.
        Classifiers: ``supervised-resnet50`` and ``efficientnet-lite0``. Of other libraries: ``torchvision:<name>``,
        ``timm:<name>``, ``transformers:<folder>`` and ``open_clip:<name>[/<file>]``; nothing is fetched without
        ``download=True``, and what is compared is seen to be what the network itself returns, or its last linear layer
        reads, unless a ``layer`` or a ``tail`` says otherwise. ``readout`` is as ``wrap`` says, ``inference`` as
        the class does.

        Without a checkpoint ``efficientnet-lite0`` has its published ImageNet weights, and ``demo-vit``, a small Vision
        Transformer, those of digit scenes that come with the project; the others have random ones drawn from ``seed``
        (default 0), unless ``weights`` names torchvision's. ``size`` is the side of the square images, ``mean`` and
        ``std`` are those of their pixels; further keywords go to the network. ``head`` is a module ready for use, or a
        description: ``HeadConfig(kind="none")`` for none. A checkpoint may be an official one: its release is
        recognized by its names, or named with ``release``, and the activation, the pooling and the images that it was
        trained with are taken unless others are given. ``module:function`` or ``path/to/file.py:function`` is a
        function of yours that returns an encoder, looked for in the current folder first; it is called with what is
        given, and your code runs.

        Raises: ``LookupError`` for an unknown name or option, with the nearest ones; ``FileNotFoundError`` for a
        checkpoint, and ``ImportError`` for a package, that is not there; ``ValueError`` for a checkpoint that does not
        fit, or of several networks, one of which ``part`` then names; otherwise as the class.
        """
        expect_head(head)
        path = None if checkpoint is None else Path(checkpoint)
        if is_own_encoder(name):
            plain = None if isinstance(head, HeadConfig) and head == HeadConfig() else head
            given = {"pooling": pooling, "head": plain, "inference": None if inference in (AUTO, EAGER) else inference}
            own = made_by(name, cls, {"checkpoint": path, **given, "tail": tail, "readout": readout, **architecture})
            own.description = f"{name} ({own.description})"
            return own
        config = HeadConfig(kind="none") if isinstance(head, nn.Module) else head
        own_readout = None if readout == INTEGRATED else readout
        built: NamedNetwork = build_named(name, path, head=config, tail=tail, readout=own_readout, **architecture)
        layer = None if built.layer is None else find_layer(built.network, built.layer)
        encoder = cls(
            built.network,
            layer=layer,
            pooling=built.pooled_by(pooling, tail),
            head=head if isinstance(head, nn.Module) else built.head,
            preprocess=built.preprocessing.transform,
            description=_described(name, built.weights, EAGER if inference == AUTO else inference),
            inference=inference,
            layout=built.layout,
            tail=IGNORE if head is None and built.is_own_feature else tail,
            readout=readout,
            text=built.text,
        )
        encoder.description = _described(name, built.weights, encoder.inference)
        encoder.random = tuple(part for part in built.random if part != "head" or not isinstance(head, nn.Module))
        encoder.unfilled = () if built.report is None else built.report.unfilled
        encoder.without_text = "" if built.member is None else built.member.without_text
        return encoder

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: str = "cpu", frozen: bool = False) -> "Encoder":
        """Build the encoder a configuration describes, its network and its head on a device.

        ``frozen`` says that it is only run: ``inference="auto"`` is then as the class says, and ``eager`` otherwise.

        Raises: ``ValueError`` for a device that is not there; else as ``named``, ``with_detail`` and ``at_scales``.
        """
        config.check_there()
        encoder = cls.named(
            config.name,
            checkpoint=config.checkpoint,
            pooling=config.pooling,
            head=config.head,
            inference=(config if frozen else config.as_written).inference,
            tail=config.tail,
            readout=config.readout,
            **config.read,
            **config.architecture,
        )
        finer = encoder.to(device).with_detail(config.detail, config.biases)
        return seen_at(finer, config.scales, config.scale_weights, config.support_scales)

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        layer: str | nn.Module | None = None,
        *,
        head: nn.Module | None = None,
        pooling: str | Pooling = "gap",
        preprocess: Preprocess | None = None,
        inference: str = "eager",
        layout: str | None = None,
        tail: str | None = None,
        readout: str | None = None,
        text: TextTower | None = None,
    ) -> "Encoder":
        """Wrap any network; ``layer`` is the name or the module whose output is explained.

        A network of tokens needs no layer: ``readout`` says how its embedding comes about, None as the network itself
        makes it. ``class``, the class token's stream, ``class-direct`` and ``class-last`` are three ways to split the
        same embedding; ``mean`` is that of the patches, ``class+mean`` both behind each other, and ``attention-pool``
        that of a latent query. ``integrated`` takes the patches as they are last read, behind a norm, and integrates
        over all that the network does behind them. Images are resized to 224×224 and normalized with ImageNet's
        statistics unless ``preprocess``, from a PIL image to a (3, H, W) tensor, says otherwise. A network may read any
        number of channels; pictures show one in gray, two as their mean, and of more than three the first three as RGB.
        ``text`` is the tower for text of the same model, with ``model.visual`` as the module. ``head``, ``pooling``,
        ``inference``, ``layout`` and ``tail`` are as the class says.

        Raises: ``LookupError`` for an unknown layer, with the nearest names; otherwise as the class.
        """
        expect_module(module, "network")
        return cls(
            module,
            layer=None if layer is None else find_layer(module, layer),
            pooling=pooling,
            head=head,
            preprocess=preprocess,
            inference=inference,
            layout=layout,
            tail=tail,
            readout=readout,
            text=text,
        )

    def __call__(self, images: Float[Tensor, "batch color height width"]) -> Features:
        """Return activation maps, pooled values and embeddings of a batch of preprocessed images, without gradients.

        They are in float32, or of a network in float64 in that. ``preprocess`` makes the images of photographs.

        Raises: ``TypeError`` for anything but a tensor; ``ValueError`` for other dimensions or channels, and where the
        first images show that the layer gives no maps, that it does not say where their channels are, or that the
        network does otherwise than its ``readout`` or ``tail`` says, and for numbers beyond those of ``fp16``.
        """
        expect_images(images)
        if self.scales is not None:
            with evaluating(self.head):
                return self.scales.features(self.single, self.single.pooling, module_at_hand(self.head), images)
        with evaluating(self.network, self.head):
            if self.tokens is not None:
                read = self.run(self.tokens.read, images)
                return in_range(self.tokens.features(read, self.pooling, self.head), self.inference)
            cells, finer = self._read_finer(images)
            maps = at_hand(cells)
            with torch.autocast(maps.device.type, enabled=False):
                maps = in_full_precision(maps)
                pooled = self.reading.tail.pooled(maps, self.pooling)
                # a copy, because a head may begin with a layer that overwrites its input
                found = Features(maps.detach(), pooled, module_at_hand(self.head)(pooled.clone()), finer=finer)
                self.reading.tail.compare(found.maps, found.embedding)
        return in_range(found, self.inference)

    def with_head(self, head: nn.Module) -> "Encoder":
        """Return an encoder of the same network whose embeddings come from another head, which was meant.

        Raises: ``TypeError`` for what is no module; ``nn.Identity()`` is no head.
        """
        expect_module(head, "head")
        changed = copy(self)
        changed.head = head if self.scales is None else per_scale(head, len(self.scales.sides))
        changed.reading = self.reading.answered(self.description)
        return changed


def _described(name: str, weights: str, inference: str) -> str:
    return f"{name} ({weights})" if inference == EAGER else f"{name} ({weights}, {inference})"


def expect_encoder(encoder: object, order: str) -> None:
    """Refuse anything but an encoder as the first argument. Raises: ``TypeError`` that says the order."""
    if not isinstance(encoder, Encoder):
        raise WrongType(f"expected an Encoder first, but got {type(encoder).__name__}; the order is {order}.")
