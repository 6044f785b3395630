"""Which names a checkpoint's pickle may contain, and the records that stand for what they name.

A name on these lists is never imported. Those of known releases and of their containers are here because checkpoints
hold live objects: a network module, settings, the state of a callback.
"""

from dataclasses import dataclass, field
from typing import Any

BUILTINS = ("builtins", "__builtin__")
INERT = {
    ("argparse", "Namespace"),
    ("builtins", "dict"),
    ("builtins", "object"),
    ("__builtin__", "dict"),
    ("__builtin__", "object"),
    # lemniscate.pytorch (NPID) saves its memory as the live module
    ("lib.NCEAverage", "NCEAverage"),
    ("lib.LinearAverage", "LinearAverage"),
    ("lib.alias_multinomial", "AliasMethod"),
    ("alias_multinomial", "AliasMethod"),
    ("torch.nn.backends.thnn", "_get_thnn_function_backend"),
    ("torch.nn.backends.thnn", "THNNFunctionBackend"),
    # Lightning keeps hyperparameters and the states of callbacks
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping"),
    # best accuracies are often scalars of NumPy
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("torch", "device"),
    *(("torch.jit._pickle", f"build_{kind}list") for kind in ("int", "double", "bool", "tensor")),
    *(("torch", kind) for kind in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")),
}
INERT_FOLDERS = ("torch.nn.modules.", "__torch__")  # the latter are the classes of TorchScript
MAPPINGS = {("collections", name) for name in ("OrderedDict", "defaultdict", "Counter")}
RECONSTRUCTORS = {("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")}
SETS = {("builtins", "set"), ("__builtin__", "set")}
SIZES = {("torch", "Size")}
TENSORS = {("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2")}
PARAMETERS = {
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.autograd.variable", "Variable"),
}
STORAGES = {
    (module, f"{kind}Storage")
    for module in ("torch", "torch.cuda")
    for kind in (
        *("Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"),
        *("Long", "Int", "Short", "Char", "Byte", "Bool"),
    )
}
KNOWN = INERT | MAPPINGS | RECONSTRUCTORS | SETS | SIZES | TENSORS | PARAMETERS | STORAGES
REGISTRIES = ("_parameters", "_buffers", "_modules")


class DamagedFileError(ValueError):
    """A file whose parts do not fit together, or one that was made to take more than it holds."""


class RefusedPickleError(ValueError):
    """A pickle that names something which is not on the lists; ``wanted`` is its name."""

    def __init__(self, wanted: str) -> None:
        super().__init__(f"the pickle asks for {wanted}")
        self.wanted = wanted


@dataclass(frozen=True)
class Name:
    """The name of a class or a function, in the place of the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module in BUILTINS else f"{self.module}.{self.name}"

    @property
    def pair(self) -> tuple[str, str]:
        """Module and name, as the lists have them."""
        return self.module, self.name

    @property
    def is_inert(self) -> bool:
        """Whether a record stands for what a call of it gives."""
        return self.pair in INERT or (self.module.startswith(INERT_FOLDERS) and self.name.isidentifier())


@dataclass(eq=False)
class Inert:
    """What a pickle says of an object: the name of its class, its arguments, its state and its items."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)

    def parts(self) -> dict[Any, Any]:
        """Return its items and attributes; of a network module its parameters, buffers and modules by their names."""
        parts = dict(self.items) | {key: value for key, value in self.state.items() if key not in REGISTRIES}
        for registry in REGISTRIES:
            registered = self.state.get(registry)
            parts |= registered if isinstance(registered, dict) else {}
        return parts


def known_name(module: Any, name: Any) -> Name:
    """Return a name that is on the lists. Raises: ``RefusedPickleError`` for any other."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise RefusedPickleError("a name that is no text")
    known = Name(module, name)
    if known.pair not in KNOWN and not known.is_inert:
        raise RefusedPickleError(str(known))
    return known
