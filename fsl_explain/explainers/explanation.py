"""The explanation a user gets: each channel's and each cell's share of a decision's score, and its receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from episodes.errors import Mistake, UnknownName, WrongType
from episodes.geometry import Geometry, known_geometry
from episodes.position import position
from fsl_explain.brief import brief
from fsl_explain.classifiers import Decision, frozen_part
from fsl_explain.explainers import explanation_file
from fsl_explain.explainers.evidence import Evidence, unnamed
from fsl_explain.explainers.question import Question
from fsl_explain.explainers.receipt import Integration, Receipt, support_lines
from fsl_explain.explainers.saved_explanation import parts_of, taken_apart
from fsl_explain.explainers.scale_shares import ScaleShares, arrays_of, scale_shares, scales_in_words
from fsl_explain.explainers.sides import SHOWN, QuerySide, SupportSide, as_array
from fsl_explain.image_batch import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = int | tuple[int, int]  # in pixels


@dataclass(frozen=True)
class Explanation:
    """Why images were given their class: each channel's and each cell's share of the decision's score.

    All tensors but those of ``evidence`` are on the CPU. A batch of queries adds one leading dimension to every tensor
    but ``support_images``; index the explanation to get that of one query. Saved, pickled or copied it leaves the
    network behind, and still answers ``support_audit`` and ``correspondence``, if rule and similarity have names.

    ``method`` is the method's name, ``target`` the index of the class whose score, or lead, is explained; that is
    ``exact_score``, in float64, by the decision's own code. ``against`` are the rivals' shares of a contrast, None
    where there is none; they sum to 1, or are 0 where no rival has a vote. ``constants`` are what no similarity holds,
    by what they stand for, ``query`` and ``supports`` the two sides, ``evidence`` what audit and correspondence need.
    If ``signed``, negative cells speak against the score. ``addends`` is what the method's numbers of the channels are
    called; if ``ranks``, they are not made to add up. ``geometry`` is how a photograph became the image; None: unknown.
    """

    method: str
    decision: Decision
    target: int | Int[Tensor, "*batch"]
    against: Float[Tensor, "*batch way"] | None
    exact_score: Float[Tensor, "*batch"]
    constants: Mapping[str, Float[Tensor, "*batch"]]
    query: QuerySide
    supports: SupportSide
    evidence: Evidence = field(repr=False)
    signed: bool = False
    addends: str = "contributions"
    ranks: bool = False
    geometry: Geometry | None = None

    @property
    def score(self) -> Float[Tensor, "*batch"]:
        """Δ, what the explanation adds up to, in the precision of the maps."""
        return self.exact_score.to(self.cells.dtype)

    @property
    def contributions(self) -> Float[Tensor, "*batch channel"]:
        """Each channel's share of the score, negative where it speaks against it; of a CAM its weights; else NaN."""
        return self.query.contributions

    @property
    def cells(self) -> Float[Tensor, "*batch h w"]:
        """Each cell's share before upsampling, or each pixel's where those were changed; without ``signed`` a rank."""
        return self.query.cells

    @property
    def bias(self) -> Float[Tensor, "*batch"]:
        """What no channel and no cell holds, constants included, from its own formula; NaN where nothing is split."""
        return self.query.bias

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch"]]:
        """Parts of the bias by what they stand for."""
        return self.query.named

    @property
    def saliency(self) -> Float[Tensor, "*batch height width"]:
        """The map in the size of the image, in [0, 1]; with ``signed`` it sums to the cells, below 0 speaks against."""
        return self.query.saliency

    @property
    def image(self) -> Float[Tensor, "*batch 3 height width"]:
        """The preprocessed query in [0, 1], for pictures."""
        return self.query.image

    @property
    def support_cells(self) -> Float[Tensor, "*batch way shot _h _w"]:
        """The cells of every support, with the sign of ``cells``; NaN where there is none, or no map of it."""
        return self.supports.cells

    @property
    def support_bias(self) -> Float[Tensor, "*batch"]:
        """What no cell of a support holds: of exact methods the score less the sum of all supports' cells."""
        return self.supports.bias

    @property
    def similarities(self) -> Float[Tensor, "*batch way shot"]:
        """The similarity S_k to each support, in float64, larger where more alike; NaN where there is none."""
        return self.supports.similarities

    @property
    def support_weights(self) -> Float[Tensor, "*batch way shot"]:
        """The weight w_k of each support, negative of those against: score = Σ_k w_k S_k + Σ constants."""
        return self.supports.weights

    @property
    def support_shares(self) -> Float[Tensor, "*batch way shot"]:
        """The part of each w_k S_k that the query's cells hold."""
        return self.supports.shares

    @property
    def support_biases(self) -> Float[Tensor, "*batch way shot"]:
        """The part of each w_k S_k that none of the query's cells holds."""
        return self.supports.biases

    @property
    def support_images(self) -> Float[Tensor, "way shot 3 _height _width"] | None:
        """The preprocessed supports in [0, 1], where images were given."""
        return self.supports.images

    @property
    def question(self) -> Question | None:
        """What was asked, network and all; None where it was left behind."""
        return self.evidence.asked

    @property
    def scales(self) -> ScaleShares | None:
        """What each scale has to do with a decision that is the mean over several; None for any other."""
        return scale_shares(self.evidence)

    @property
    def residual(self) -> Float[Tensor, "*batch"]:
        """|score - (Σ contributions + bias)|: rounding for exact methods, what others leave out, or NaN."""
        return (self.score - self.contributions.sum(dim=-1) - self.bias).abs()

    @property
    def absolute_sum(self) -> Float[Tensor, "*batch"]:
        """Σ |contributions| + |bias|: what the residual is to be compared with."""
        return self.contributions.abs().sum(dim=-1) + self.bias.abs()

    def __getitem__(self, index: int) -> "Explanation":
        """Return that of a query. Raises: ``IndexError`` if it is not there; ``TypeError`` for a slice, or no batch."""
        if isinstance(self.target, int):
            raise WrongType("expected the explanation of a batch of queries, but this one is of a single query.")
        index = position(index, "the number of one query")
        label = self.decision.label
        return replace(
            self,
            decision=Decision(int(label[index]), self.decision.scores[index], self.decision.classes),  # type: ignore[index]
            target=int(self.target[index]),
            against=None if self.against is None else self.against[index],
            exact_score=self.exact_score[index],
            constants={name: value[index] for name, value in self.constants.items()},
            query=self.query[index],
            supports=self.supports[index],
            evidence=self.evidence[index],
        )

    def receipt(self) -> Receipt:
        """Add up weights times similarities, support by support, and constants. Raises: ``ValueError`` for a batch."""
        self._expect_one()
        lines = support_lines(self.decision.classes, self.supports)
        constants = {name: float(value) for name, value in self.constants.items() if float(value) != 0}
        named = {name: float(value) for name, value in self.named.items()}
        share = self.query.share_of_cells if self.signed else None
        found = Integration.of(self.query.steps, self.cells, lines)
        scales = () if self.scales is None else self.scales.lines(self.decision.classes)
        frozen = frozen_part(self.evidence.rule)
        return Receipt(lines, constants, float(self.exact_score), named, share, found, scales, frozen)

    def plot(self) -> "Figure":
        """Draw the query, its map, and the supports that were compared with it. Raises: ``ValueError`` for a batch."""
        figure: Figure = _pictures("picture").draw(self)
        return figure

    def _repr_png_(self) -> bytes | None:
        if self.score.dim() != 0:
            return None
        png: bytes = _pictures("shown_figure").as_png(self.plot())
        return png

    def to_numpy(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return the numbers as arrays by their public names; what is not there is left out."""
        found = {
            "score": self.score,
            "scores": self.decision.scores,
            "label": torch.as_tensor(self.decision.label),
            "target": torch.as_tensor(self.target),
            "against": self.against,
            "residual": self.residual,
            "absolute_sum": self.absolute_sum,
            **{name: getattr(self, name) for name in SHOWN},
            **{f"named.{name}": value for name, value in self.named.items()},
            **arrays_of(self.scales),
        }
        return {name: as_array(value) for name, value in found.items() if value is not None}

    def saliency_on(
        self, photograph: Any, *, resize: Size | None = None, crop: Size | None = None
    ) -> Float[Tensor, "_height _width"]:
        """Return the map at the pixels of the upright photograph, NaN where the preprocessing cut it away.

        ``resize`` (the shorter side, or height and width, in pixels) and ``crop`` (of the center) say what the
        preprocessing does where it does not show it. The photograph is a PIL image, a path, or an array or tensor of
        pixels. Values are those of the map, interpolated.

        Raises: ``ValueError`` for a batch, or where the geometry is not known or not that of the map;
        ``FileNotFoundError`` or ``TypeError`` for what is no photograph.
        """
        self._expect_one()
        geometry = known_geometry(self.geometry, resize, crop)
        turned = picture(photograph, "the photograph")
        return geometry.back(self.saliency.float(), (turned.height, turned.width))

    def on_photograph(
        self, photograph: Any, *, overlay: bool = True, resize: Size | None = None, crop: Size | None = None
    ) -> PIL.Image.Image:
        """Draw the map in the size of a photograph, its EXIF orientation applied, in the colors of ``plot``.

        With ``overlay`` the photograph lies below, and shows alone where the preprocessing cut it away; without, the
        map stands alone in RGBA, transparent there. ``resize``, ``crop`` and what it raises are as in ``saliency_on``.
        """
        found = self.saliency_on(photograph, resize=resize, crop=crop)
        drawn: PIL.Image.Image = _pictures("photograph").draw(
            found, picture(photograph) if overlay else None, self.signed, float(self.saliency.nan_to_num().abs().max())
        )
        return drawn

    def save(self, path: str | Path) -> None:
        """Write the explanation to one ``.safetensors`` file, without the network.

        A rule or similarity object without a name is left behind, too; what needs it says so after loading.

        Raises: ``ValueError`` for a path that does not end so.
        """
        explanation_file.write(path, *taken_apart(self))

    @staticmethod
    def load(path: str | Path) -> "Explanation":
        """Read what ``save`` wrote; ``load_explanation`` says what it raises."""
        return load_explanation(path)

    def __repr__(self) -> str:
        return f"{brief(self)} {scales_in_words(self.scales, self.decision.classes)}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return _put_together, (*taken_apart(self), unnamed(self.evidence))

    def _expect_one(self) -> None:
        if self.exact_score.dim() != 0:
            raise Mistake("expected the explanation of one query, but got that of a batch; index it.")


def expect_explanation(explanation: object) -> None:
    """Refuse anything but an explanation. Raises: ``TypeError``."""
    if not isinstance(explanation, Explanation):
        raise WrongType(f"expected an explanation, as explain() returns it, but got {type(explanation).__name__}.")


def load_explanation(path: str | Path) -> Explanation:
    """Read an explanation that ``save`` wrote.

    Raises: ``FileNotFoundError`` where there is none; ``ValueError`` for a file that is damaged, of another kind or of
    a newer format; ``LookupError`` for a rule or similarity whose name is not registered here.
    """
    facts, tensors = explanation_file.read(path)
    try:
        return _put_together(facts, tensors)
    except UnknownName:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise explanation_file.damaged(path) from error


def _put_together(
    facts: Mapping[str, Any], tensors: Mapping[str, Tensor], objects: Mapping[str, Any] | None = None
) -> Explanation:
    return Explanation(**parts_of(facts, tensors, objects or {}))


def _pictures(name: str) -> ModuleType:
    """Load what draws only when something is drawn: pictures stand above the explanations, and bring matplotlib."""
    return import_module(f"fsl_explain.pictures.{name}")
