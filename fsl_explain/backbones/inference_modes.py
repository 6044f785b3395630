"""Faster forms of a network that only runs forward: batch normalization folded, half precision, and compiled.

Folding multiplies each filter by the gain that batch normalization gives its channel in eval mode, so that one
operation does what two did. Which normalization follows which convolution is read from a symbolic trace; what then
runs is the network's own code with the two modules replaced, so that layers keep their names and hooks.
"""

import copy
from collections.abc import Iterator

import torch
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.compiled import COMPILED, expect_compiler
from fsl_explain.devices import module_at_hand
from fsl_explain.features import Features

AUTO, EAGER, FOLDED = "auto", "eager", "folded"
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
INFERENCE_MODES = (EAGER, FOLDED, *HALVES, COMPILED)
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Normalization = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def for_inference(network: nn.Module, layer: nn.Module | None, inference: str) -> tuple[nn.Module, nn.Module | None]:
    """Return a network and its explained layer in a form of ``INFERENCE_MODES``; ``eager`` is the network itself.

    The other forms are copies of the weights as they are now, in eval mode and frozen. Batch normalization that
    follows no convolution, or whose convolution is read elsewhere too, stays as it is, and so does one that would
    change what ``layer`` returns. ``compiled`` is the form of ``folded``, of which whoever reads it compiles a pass.

    Raises: ``LookupError`` for an unknown form; ``ValueError`` for TorchScript, which runs as it is and lets nobody
    read its layers, for weights beyond the numbers of ``fp16``, and for ``compiled`` where there is no compiler.
    """
    if inference not in INFERENCE_MODES:
        raise unknown_name("inference", inference, (AUTO, *INFERENCE_MODES))
    if layer is not None and _hides_its_output(layer):
        raise Mistake(
            "expected a layer of a network in Python, but got one inside of TorchScript, whose output cannot be read; "
            "wrap the network before torch.jit, or script the part up to its maps and use Encoder(part)."
        )
    if inference != EAGER and any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise Mistake(f"expected a network in Python for {inference!r}, but got TorchScript; use inference='eager'.")
    if inference == EAGER:
        return network, layer
    if inference == COMPILED:
        expect_compiler()
    name = next((name for name, module in network.named_modules() if module is layer), None)
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    _fold(folded, None if name is None else folded.get_submodule(name))
    folded.to(memory_format=torch.channels_last)
    if inference in HALVES:
        folded.to(HALVES[inference])
        _expect_in_range(folded, inference)
    return folded, None if name is None else folded.get_submodule(name)


def _expect_in_range(network: nn.Module, inference: str) -> None:
    for name, value in network.named_parameters():
        if not bool(value.isfinite().all()):
            largest = f"{torch.finfo(HALVES[inference]).max:,.0f}"
            raise Mistake(
                f"expected weights of at most {largest} for inference={inference!r}, but {name}, with batch "
                "normalization folded in, has larger ones; use inference='bf16' or 'folded'."
            )


def in_range(found: Features, inference: str) -> Features:
    """Return features of ``fp16`` if all are finite, and others as they are. Raises: ``ValueError``."""
    if inference == "fp16" and not all(bool(one.isfinite().all()) for one in (found.maps, found.embedding)):
        raise Mistake(
            f"expected a network whose numbers stay below {torch.finfo(torch.float16).max:,.0f} for inference='fp16', "
            "but it gave NaN or infinity; use inference='bf16' or 'folded'."
        )
    return found


def _hides_its_output(layer: nn.Module) -> bool:
    """Tell whether a layer is of TorchScript; only a traced one that Python itself calls runs hooks."""
    scripted = isinstance(layer, torch.jit.ScriptModule)
    return scripted and not isinstance(layer, torch.jit._trace.TopLevelTracedModule)


def _fold(network: nn.Module, layer: nn.Module | None) -> None:
    within = set() if layer is None else set(layer.modules())
    for convolution, normalization in list(_pairs(network)):
        fused = _fused(convolution, normalization)
        leaves_the_layer = convolution in within and normalization not in within
        if fused is not None and not leaves_the_layer:
            _replace(
                network,
                convolution,
                fused.to(convolution.weight.device, convolution.weight.dtype).requires_grad_(False),
            )
            _replace(network, normalization, nn.Identity())


def _pairs(network: nn.Module) -> Iterator[tuple[Convolution, Normalization]]:
    """Find every convolution whose output goes to one batch normalization and nowhere else.

    A network that cannot be traced is looked at child by child.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception:  # tracing runs the network's own code, which may fail in any way
        for child in network.children():
            yield from _pairs(child)
        return
    modules = dict(network.named_modules())
    calls = [modules[node.target] for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        module, source = modules.get(node.target), node.args[0] if node.args else None
        if isinstance(module, Normalization) and isinstance(source, fx.Node) and len(source.users) == 1:
            before = modules.get(source.target)
            if isinstance(before, Convolution) and calls.count(module) == calls.count(before) == 1:
                yield before, module


class _Tracer(fx.Tracer):
    """Does not look into convolutions and normalizations, not even into those of other packages."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Convolution | Normalization) or super().is_leaf_module(m, module_qualified_name)


def _fused(convolution: Convolution, normalization: Normalization) -> Convolution | None:
    """Return one convolution in float64 that does what both do, or None where there is none.

    Packages derive modules of these kinds that do more, such as standardizing the weights or rectifying, so the
    result is tried on a random image.
    """
    pair = (convolution, normalization)
    watched = any(one._forward_hooks or one._forward_pre_hooks or parametrize.is_parametrized(one) for one in pair)
    if watched or normalization.running_mean is None:
        return None
    first, second = (
        module_at_hand(copy.deepcopy(convolution)).double(),
        module_at_hand(copy.deepcopy(normalization)).double(),
    )
    fused: Convolution = fuse_conv_bn_eval(first, second)
    sides = [dilation * size + 3 for size, dilation in zip(first.kernel_size, first.dilation, strict=True)]
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, first.in_channels, *sides, generator=generator, dtype=torch.float64)
    image = image.to(first.weight.device)
    with torch.no_grad():
        return fused if torch.allclose(fused(image), second(first(image)), rtol=1e-6, atol=1e-9) else None


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module wherever another one stands, under all of its names."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves second names out
            if child is old:
                setattr(parent, name, new)
