"""The receipt: a decision's score added up support by support, with what is left over printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.explainers.sides import SupportSide
from fsl_explain.printable import shown

REST = "head and similarity"  # what is left of the bias
SHOWN = 20  # support lines of a printed receipt; the others are summed up


@dataclass(frozen=True)
class SupportLine:
    """One support's addend: its weight in the decision times its similarity to the query."""

    class_name: str
    shot: int  # from 0, within its class
    weight: float  # w_k
    similarity: float  # S_k
    in_cells: float  # the part of w_k S_k that the query's cells hold
    bias: float  # the part that none holds: biases of the head and terms of the similarity, from their own formula

    @property
    def amount(self) -> float:
        """The addend w_k S_k, in the unit of the score."""
        return self.in_cells + self.bias


def support_lines(classes: Sequence[str], supports: SupportSide) -> tuple[SupportLine, ...]:
    """Return a line for every support of one query that has a say, class after class."""
    weights, similarities = supports.weights.tolist(), supports.similarities.tolist()
    held, beside = supports.shares.tolist(), supports.biases.tolist()
    return tuple(
        SupportLine(name, shot, weight, similarities[label][shot], held[label][shot], beside[label][shot])
        for label, name in enumerate(classes)
        for shot, weight in enumerate(weights[label])
        if weight != 0
    )


@dataclass(frozen=True)
class ScaleLine:
    """One scale's part of a decision that is the mean over several."""

    side: int  # of the images in pixels
    weight: float  # a_s
    score: float  # Δ_s = Σ_k w_k S_ks
    chosen: str  # the class that this scale alone decides; "" where the rule is not known

    @property
    def amount(self) -> float:
        """The addend a_s Δ_s."""
        return self.weight * self.score


def disagreement(scales: Sequence[ScaleLine]) -> str:
    """Return one sentence where scales alone decide differently; "" where they agree, or it is not known."""
    if len({line.chosen for line in scales}) < 2:
        return ""
    *first, last = [f"at {line.side} pixels {shown(line.chosen)}" for line in scales]
    return f"The scales decide differently: alone, {', '.join(first)} and {last}."


@dataclass(frozen=True)
class Integration:
    """How the cells' shares were found where they have no exact form."""

    steps: int
    missed: float  # by how much the cells hold more than the supports' lines say

    @classmethod
    def of(
        cls, steps: Int[Tensor, ""] | None, cells: Float[Tensor, "h w"], lines: tuple[SupportLine, ...]
    ) -> "Integration | None":
        """Compare the sum of the cells with what the lines say that they hold; None for exact shares, of no steps."""
        if steps is None:
            return None
        return cls(int(steps), float(cells.double().sum()) - sum(line.in_cells for line in lines))


@dataclass(frozen=True)
class Receipt:
    """score = Σ supports + bias + constants, each in the unit of the score; what is negative speaks against it.

    The supports' part is what the query's cells hold; the bias is the rest of each w_k S_k. For a k-NN
    vote the supports say how similar the voters are, and the constant how many they are.

    ``lines`` are the supports with a say, class after class. ``constants`` are what no similarity holds, and ``named``
    parts of the bias, each by what it stands for. ``score`` is Δ, from the decision's own code. ``share_of_cells`` is
    Σ|cells| of Σ|cells| + Σ|named| + |the rest of the bias|, from 0 to 1; None where the cells have no sign, no
    channel has a share, or all are 0. ``integration`` says how the cells' shares were found, None where they are exact.
    ``scales`` are those of a decision at several: Σ of their amounts + constants = score. ``frozen`` is what the rule
    holds at the query's own value, such as a flow; "" for norms and gains alone.
    """

    lines: tuple[SupportLine, ...]
    constants: Mapping[str, float]
    score: float
    named: Mapping[str, float] = field(default_factory=dict)
    share_of_cells: float | None = None
    integration: Integration | None = None
    scales: tuple[ScaleLine, ...] = ()
    frozen: str = ""

    @property
    def supports(self) -> float:
        """Σ over supports of what the query's cells hold."""
        return sum(line.in_cells for line in self.lines)

    @property
    def bias(self) -> float:
        """Σ over supports of what no cell of the query holds."""
        return sum(line.bias for line in self.lines)

    @property
    def missed(self) -> float:
        """What an integration leaves the cells with too much or too little, which the residual shows."""
        return 0.0 if self.integration is None else self.integration.missed

    @property
    def total(self) -> float:
        """Supports, bias and constants together."""
        return self.supports + self.missed + self.bias + sum(self.constants.values())

    @property
    def residual(self) -> float:
        """|score - total|: rounding, if the receipt is right."""
        return abs(self.score - self.total)

    @property
    def absolute_sum(self) -> float:
        """Σ of the absolute addends: what the residual is to be compared with."""
        addends = [*(line.in_cells for line in self.lines), *(line.bias for line in self.lines)]
        return sum(map(abs, [*addends, *self.constants.values()]))

    def __str__(self) -> str:
        width = max(
            [len(self._name(line)) for line in self._shown()]
            + [len(name) + 2 for name in (*self.constants, *self.named)]
            + [24]
        )
        head = f"{'':{width}}  {'weight':>11}  {'similarity':>11}  {'= amount':>11}  {'in cells':>11}  {'bias':>11}"
        rows = [head, *(self._row(self._name(line), line, width) for line in self._shown())]
        rows += self._others(width)
        rows += [f"{name:{width}}  {'':11}  {'':11}  {value:+11.6f}" for name, value in self.constants.items()]
        if self.integration is not None:
            name = f"integrated, {self.integration.steps} steps"
            rows.append(f"{name:{width}}  {'':11}  {'':11}  {self.missed:+11.6f}  {self.missed:+11.6f}")
        in_cells = self.supports + self.missed
        rows.append(f"{'sum':{width}}  {'':11}  {'':11}  {self.total:+11.6f}  {in_cells:+11.6f}  {self.bias:+11.6f}")
        parts = {**self.named, REST: self.bias - sum(self.named.values())} if self.named else {}
        rows += [self._part_of_the_bias(name, value, width) for name, value in parts.items()]
        rows.append(f"{'score':{width}}  {'':11}  {'':11}  {self.score:+11.6f}")
        share = self.residual / self.absolute_sum if self.absolute_sum > 0 else 0.0
        rows.append(f"{'residual':{width}}  {'':11}  {'':11}  {self.residual:11.1e}  ({share:.1e} of Σ|addends|)")
        rows += [] if self.share_of_cells is None else [f"the cells hold {self.share_of_cells:.0%} of Σ|terms|"]
        rows += [f"frozen: {self.frozen}"] if self.frozen else []
        rows += self._scale_rows(width)
        return "\n".join(rows)

    def largest_first(self) -> tuple[SupportLine, ...]:
        """The supports from the largest absolute addend to the smallest."""
        return tuple(sorted(self.lines, key=lambda line: -abs(line.amount)))

    @property
    def residual_of_scales(self) -> float:
        """|score - (Σ of the scales' amounts + constants)|: rounding, if they add up."""
        return abs(self.score - sum(line.amount for line in self.scales) - sum(self.constants.values()))

    def _scale_rows(self, width: int) -> list[str]:
        if not self.scales:
            return []
        head = f"{'at each scale':{width}}  {'weight':>11}  {'its score':>11}  {'= amount':>11}  its choice"
        rows = [
            f"{f'{line.side} pixels':{width}}  {line.weight:+11.6f}  {line.score:+11.6f}  {line.amount:+11.6f}  "
            f"{shown(line.chosen)}".rstrip()
            for line in self.scales
        ]
        rest = f"{'residual of the scales':{width}}  {'':11}  {'':11}  {self.residual_of_scales:11.1e}"
        word = disagreement(self.scales)
        return [head, *rows, rest, *([word] if word else [])]

    def _shown(self) -> tuple[SupportLine, ...]:
        return self.lines if len(self.lines) <= SHOWN else self.largest_first()[:SHOWN]

    def _name(self, line: SupportLine) -> str:
        return f"{shown(line.class_name)}, support {line.shot + 1}"

    def _row(self, name: str, line: SupportLine, width: int) -> str:
        numbers = (line.weight, line.similarity, line.amount, line.in_cells, line.bias)
        return f"{name:{width}}  " + "  ".join(f"{number:+11.6f}" for number in numbers)

    def _part_of_the_bias(self, name: str, value: float, width: int) -> str:
        return f"{f'  {name}':{width}}  {'':11}  {'':11}  {'':11}  {'':11}  {value:+11.6f}"

    def _others(self, width: int) -> list[str]:
        others = self.largest_first()[SHOWN:] if len(self.lines) > SHOWN else ()
        if not others:
            return []
        sums = (
            sum(line.amount for line in others),
            sum(line.in_cells for line in others),
            sum(line.bias for line in others),
        )
        name = f"the other {len(others)} together"
        return [f"{name:{width}}  {'':11}  {'':11}  " + "  ".join(f"{number:+11.6f}" for number in sums)]
