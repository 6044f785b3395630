"""Reading a layer's output from a network that is not ours, and giving the network back untouched."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from episodes.errors import Mistake, UnknownName
from episodes.naming import unknown_name
from fsl_explain.backbones.wrappers import on_one_device, without_compilation
from fsl_explain.turns import alone, has_turn


@contextmanager
def captured_activations(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what ``layer`` returns in this thread while the block runs; the hook never outlives the block.

    Copies are kept, because a layer behind it may overwrite its input, as ``ReLU(inplace=True)`` does.
    """
    activations: list[Tensor] = []
    thread = threading.get_ident()

    def keep(_layer: nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            activations.append(output.clone() if isinstance(output, Tensor) else output)

    with _hooked(layer, keep):
        yield activations


@contextmanager
def leaf_activations(layer: nn.Module) -> Iterator[list[Any]]:
    """Collect what ``layer`` returns in this thread as leaves of the gradient; the hook never outlives the block.

    The network goes on with a copy of the leaf, which a layer behind it may overwrite, and from there on operations
    are recorded even where the block runs without gradients: nothing below the layer is.
    """
    leaves: list[Any] = []
    thread = threading.get_ident()

    def begin(_layer: nn.Module, _args: Any, output: Any) -> Any:
        if threading.get_ident() != thread:
            return output
        if not isinstance(output, Tensor):
            leaves.append(output)
            return output
        leaves.append(output.detach().clone().requires_grad_())
        torch.set_grad_enabled(True)
        return leaves[-1].clone()

    with _hooked(layer, begin), torch.no_grad():
        yield leaves


@contextmanager
def replaced_activation(layer: nn.Module, values: Tensor) -> Iterator[list[None]]:
    """Have the network go on from ``layer`` with other values in this thread; the hook never outlives the block.

    They are given in the layer's own layout, dtype and device aside, and derivatives by them are recorded even where
    the block runs without gradients; nothing below the layer is. The list grows by one each time the layer runs.

    Raises: ``ValueError`` where the layer gives a tensor of another shape.
    """
    runs: list[None] = []
    thread = threading.get_ident()

    def replace(_layer: nn.Module, _args: Any, output: Any) -> Any:
        if threading.get_ident() != thread:
            return output
        runs.append(None)
        if not isinstance(output, Tensor) or output.shape != values.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise Mistake(
                f"expected values of the shape that the layer {type(layer).__name__} gives, {shape}, but got "
                f"{tuple(values.shape)}; use maps and images of one call."
            )
        torch.set_grad_enabled(True)
        return values.to(output.device, output.dtype).clone()

    with _hooked(layer, replace), torch.no_grad():
        yield runs


@contextmanager
def _hooked(layer: nn.Module, hook: Callable[[nn.Module, Any, Any], Any]) -> Iterator[None]:
    with turn_at(layer):
        handle = layer.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


def turn_at(network: nn.Module) -> AbstractContextManager[None]:
    """Have a network to oneself in a block: other threads that ask for a module of it wait."""
    return nullcontext() if has_turn(network) else alone(network.modules())


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Run the block in eval mode without gradients; every module's own mode comes back afterwards.

    The networks are the block's own until then: another thread that asks for them, or for others that share a module
    with them, waits.
    """
    modules = [module for network in networks for module in network.modules()]
    with alone(modules):
        # a frozen TorchScript module has no mode
        modes = [(module, module.training) for module in modules if hasattr(module, "training")]
        try:
            for module, _ in modes:
                _set_mode(module, training=False)
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                _set_mode(module, training)


def _set_mode(module: nn.Module, training: bool) -> None:
    if "training" in module.__dict__:  # the detour over ``__setattr__`` takes as long as a small layer
        module.__dict__["training"] = training
    else:
        module.training = training


def find_layer(network: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Return a layer of ``network`` by its dotted name, or check that a given module is one of its parts.

    Raises: ``LookupError`` with the nearest names when there is no such layer.
    """
    layers: dict[str, nn.Module] = dict(network.named_modules())
    if isinstance(layer, nn.Module):
        if not any(layer is known for known in layers.values()):
            raise UnknownName(
                f"expected a layer of the wrapped {type(network).__name__}, but got a {type(layer).__name__} "
                "that is no part of it; pass one of its own modules or a layer name."
            )
        return layer
    if layer not in layers or not layer:
        raise unknown_name(f"layer of {type(network).__name__}", layer, [name for name in layers if name])
    return layers[layer]


def activation_of(network: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Any, Any]:
    """Run ``network`` on ``images`` and return what ``layer`` gave, and what the network itself did.

    Raises: ``ValueError`` when the layer did not run exactly once.
    """
    with captured_activations(layer) as activations, without_compilation(network):
        outcome = on_one_device(network)(images)
    return the_activation(activations, layer), outcome


def outcome_from(network: nn.Module, layer: nn.Module, values: Tensor, images: Tensor) -> Any:
    """Run ``network`` on ``images`` with other values in place of what ``layer`` gives; return what it does.

    What it does can be differentiated by ``values``, and by nothing below the layer.
    Raises: ``ValueError`` for values of another shape, or when the layer did not run exactly once.
    """
    with replaced_activation(layer, values) as runs, without_compilation(network):
        outcome = on_one_device(network)(images)
    the_activation(runs, layer)
    return outcome


def the_activation(activations: list[Any], layer: nn.Module) -> Any:
    """Return the one activation that ``layer`` gave. Raises: ``ValueError`` when it did not run exactly once."""
    if len(activations) != 1:
        raise Mistake(
            f"expected the layer {type(layer).__name__} to run once in a forward pass, but it ran {len(activations)} "
            "times; choose a layer that runs once."
        )
    return activations[0]


def modules_before(network: nn.Module, layer: nn.Module, image: Tensor) -> set[nn.Module]:
    """Return the modules that begin to run before ``layer`` ends; they run without content, so that it costs nothing.

    All of them are returned where the network cannot run so.
    """
    used: set[nn.Module] = set()
    ended: list[bool] = []

    def begin(module: nn.Module, _args: Any) -> None:
        if not ended:
            used.add(module)

    handles = [module.register_forward_pre_hook(begin) for module in network.modules()]
    handles.append(layer.register_forward_hook(lambda *_: ended.append(True)))
    try:
        outline = {name: value.to("meta") for name, value in (*network.named_parameters(), *network.named_buffers())}
        with evaluating(network):
            torch.func.functional_call(network, outline, (image.to("meta"),))
    except Exception:  # a network may fail in any way where there are no numbers
        return used if ended else set(network.modules())
    finally:
        for handle in handles:
            handle.remove()
    return used
