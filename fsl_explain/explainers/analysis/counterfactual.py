"""Counterfactual: the fewest cells of a query that keep it from being another class, changed and decided again."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.brief import as_html, brief
from fsl_explain.classifiers import Rule
from fsl_explain.devices import at_hand
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.explainers.analysis.flipping_cells import (
    CellEdit,
    fewest_cells,
    leads_over,
    shortest_prefix,
    sums_tell_the_decision,
    support_maps,
)
from fsl_explain.explainers.choice import Choice, ask, expect_transductive, find_rule
from fsl_explain.explainers.compared import Compared, compare, visible
from fsl_explain.explainers.contrast_weights import ClassReference, class_index
from fsl_explain.explainers.question import Question
from fsl_explain.explainers.seen_locally import seen_by
from fsl_explain.explainers.support_groups import Supports, Unlabeled
from fsl_explain.printable import shown
from fsl_explain.similarities import Similarity

EDITS = ("replace", "remove")


@dataclass(frozen=True)
class Counterfactual:
    """The cells of a query without which another class overtakes the decided one, and the decision without them.

    The decision after the edit is made twice. At the features the cells of the activation maps change, and nothing
    else does; where a token is read out, what the cells wrote into it does, with the network's attention frozen at the
    query's. By a forward of the edited image the cells' squares of pixels change, and so do the neighbors that see
    those pixels: the two may differ. Classes are indices into ``classes``; all tensors are on the CPU.

    ``edit`` is ``replace`` or ``remove``. ``target`` is the decided class; ``rival`` the one that overtakes it, or was
    to, None where none was named and none does; ``donor`` the one whose supports gave their cells, None where nothing
    was replaced. ``cells`` are (row, column) in the order in which they change, and True in ``mask``; empty where no
    class overtakes. ``replaced_by`` has the donor's (shot, row, column) for each, None where nothing was replaced.
    ``minimal`` says that it is proven that no fewer cells do, or none at all; if False, only the first cells in the
    order of their shares were tried.

    The decision is the largest of the scores, in float64: ``scores_before`` the edit, ``scores_at_features`` of the
    changed maps, and ``scores_at_pixels`` of the edited image. Images are in [0, 1], for pictures: ``image_before`` and
    ``image_after`` the edit. Where no class overtakes, those after are those before; where the pixels of the supports
    that give cells are not known, ``scores_at_pixels`` and ``image_after`` are None. ``frozen_attention`` says whether
    the features are a token's, edited with all attention kept as it was.
    """

    edit: str
    classes: tuple[str, ...]
    target: int
    rival: int | None
    donor: int | None
    cells: tuple[tuple[int, int], ...]
    replaced_by: tuple[tuple[int, int, int], ...] | None
    minimal: bool
    scores_before: Float[Tensor, "way"]
    scores_at_features: Float[Tensor, "way"]
    scores_at_pixels: Float[Tensor, "way"] | None
    mask: Bool[Tensor, "h w"]
    image_before: Float[Tensor, "3 height width"]
    image_after: Float[Tensor, "3 height width"] | None
    frozen_attention: bool = False

    @property
    def found(self) -> bool:
        """Whether there are cells that let another class overtake."""
        return bool(self.cells)

    @property
    def label_at_features(self) -> int:
        """The class decided after the edit of the maps."""
        return int(self.scores_at_features.argmax())

    @property
    def label_at_pixels(self) -> int | None:
        """The class decided for the edited image; None where there is none."""
        return None if self.scores_at_pixels is None else int(self.scores_at_pixels.argmax())

    @property
    def flipped_at_features(self) -> bool:
        """Whether the edit of the maps changes the decision; so it does wherever cells were found."""
        return self.label_at_features != self.target

    @property
    def flipped_at_pixels(self) -> bool | None:
        """Whether the edited image is decided otherwise; None where there is none."""
        return None if self.label_at_pixels is None else self.label_at_pixels != self.target

    def __repr__(self) -> str:
        return brief(self)

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def __str__(self) -> str:
        decided, total = shown(self.classes[self.target]), self.mask.numel()
        doing = "Removing" if self.edit == "remove" else "Replacing"
        other = "another class" if self.rival is None else shown(self.classes[self.rival])
        if not self.found:
            tried = f"whichever of the {total} they are" if self.minimal else "tried in the order of their shares only"
            return f"{doing} cells does not let {other} overtake {decided}, {tried}."
        by = "" if self.donor is None else f" by cells of {shown(self.classes[self.donor])}"
        proof = "and no fewer do" if self.minimal else "found by the order of their shares, not proven the fewest"
        contradicted = f"A forward of the edited image contradicts this: {decided} stays. "
        at = "At the features, with attention frozen," if self.frozen_attention else "At the features"
        opening = contradicted if self.flipped_at_pixels is False else ""
        return (
            f"{opening}{doing} {len(self.cells)} of {total} cells{by} lets {other} overtake {decided}, "
            f"{proof}. {at} {self._verdict(self.scores_at_features)}. "
            f"By one forward of the edited image {self._verdict(self.scores_at_pixels)}."
        )

    def _verdict(self, scores: Tensor | None) -> str:
        if scores is None:
            return "nothing is confirmed, because only the features of the supports were given"
        label, (first, second) = int(scores.argmax()), scores.topk(2).values.tolist()
        name, stays = shown(self.classes[label]), label == self.target
        return f"{name} {'stays' if stays else 'is decided'}, ahead by {first - second:.3g}"


def counterfactual(
    encoder: Encoder,
    query: Float[Tensor, "color height width"],
    supports: Supports,
    *,
    rule: str | Rule = "mean-similarity",
    similarity: str | Similarity = "cosine",
    edit: str = "replace",
    rival: ClassReference | None = None,
    unlabeled: Unlabeled | None = None,
) -> Counterfactual:
    """Find the fewest cells of a query whose replacement, or removal, lets another class overtake the decided one.

    ``query``, ``supports``, ``rule``, ``similarity`` and ``unlabeled`` are those of ``explain``, for one query.
    ``edit`` is ``replace``: each cell takes the features of another cell of one rival's supports; or ``remove``: its
    features become 0, and in the image its pixels 0, the mean color of normalized ones. ``rival`` is the class that
    has to overtake, by name or index, and that gives its cells; None for the fewest cells of any one rival by which any
    class overtakes, its own donor if that takes no more.

    Raises: ``ValueError``, ``LookupError`` or ``TypeError`` for input that does not fit, in one sentence: as
    ``explain``; for a batch, a single class, a rival that is the decided class, an unknown ``edit``, supports without
    activation maps where their cells are to be put in place, or an embedding that is no sum over cells.
    """
    expect_encoder(encoder, "encoder, query, supports")
    if isinstance(query, Tensor) and query.dim() != 3:
        raise Mistake(f"expected one query (3, H, W), but got shape {tuple(query.shape)}; pass them one by one.")
    if unlabeled is not None:
        expect_transductive(find_rule(rule))
    compared = compare(encoder, query, supports, similarity, unlabeled=unlabeled)
    return counterfactual_of(compared, Choice(rule, similarity), edit, rival)


def counterfactual_of(
    compared: Compared, choice: Choice, edit: str = "replace", rival: ClassReference | None = None
) -> Counterfactual:
    """Find the counterfactual of the first query of a batch that is embedded already; see ``counterfactual``."""
    if edit not in EDITS:
        raise unknown_name("edit", edit, EDITS)
    compared = seen_by(find_rule(choice.rule), compared)
    question = ask(compared, Choice(choice.rule, choice.similarity))[0]
    rivals = _rivals(question, rival)
    donors = rivals if edit == "replace" else None
    leads = leads_over(question, rivals, donors)
    proven = sums_tell_the_decision(question, leads)
    if proven:
        found = fewest_cells(question, leads, donors)
    else:
        found = shortest_prefix(question, leads, donors, named=rival is not None)
    unchanged = _unchanged(compared, question, edit, proven)
    if rival is not None:
        unchanged = replace(unchanged, rival=int(rivals))
    return unchanged if found is None else _decided_again(unchanged, compared, question, found)


def edited_image(
    image: Float[Tensor, "color height width"],
    grid: tuple[int, int],
    cells: Int[Tensor, "edited"],
    given: tuple[Float[Tensor, "shot color _height _width"], tuple[int, int], Int[Tensor, "edited"]] | None = None,
) -> Float[Tensor, "color height width"]:
    """Return the image with the squares of some cells at 0, or taken from other images.

    The cells of ``grid`` (rows, columns) are stretched over the image and numbered row by row; a pixel belongs to
    the cell that its center lies in. ``given`` are the other images, their own grid and, for each cell, the number
    of the one that takes its place, image after image; its pixels are enlarged or reduced to the nearest.
    """
    (rows, down), (columns, across) = (_along(pixels, n) for pixels, n in zip(image.shape[1:], grid, strict=True))
    numbers = (rows[:, None] * grid[1] + columns).to(image.device)
    changed = torch.isin(numbers, cells)
    if given is None:
        return image.masked_fill(changed, 0)
    images, (tall, wide), sources = given
    source_of = torch.zeros(grid[0] * grid[1], dtype=torch.long, device=image.device).index_copy(0, cells, sources)
    source = source_of[numbers]
    row, column = source % (tall * wide) // wide, source % wide
    high, long = images.shape[-2:]
    y = ((row + down.to(image.device)[:, None]) * high / tall).long().clamp(max=high - 1)
    x = ((column + across.to(image.device)) * long / wide).long().clamp(max=long - 1)
    return torch.where(changed, images[source // (tall * wide), :, y, x].movedim(-1, 0), image)


def _along(pixels: int, cells: int) -> tuple[Int[Tensor, "pixels"], Float[Tensor, "pixels"]]:
    """Return the cell that the center of each pixel of a side lies in, and where in it, in [0, 1)."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels
    return position.long(), position.frac()


def _rivals(question: Question, rival: ClassReference | None) -> Int[Tensor, "rival"]:
    classes, target = question.supports.classes, int(question.target)
    if len(classes) < 2:
        raise Mistake("a counterfactual needs at least two classes, but the supports hold one; add a class.")
    if rival is None:
        chosen = [label for label in range(len(classes)) if label != target]
    else:
        chosen = [class_index(rival, classes)]
    if target in chosen:
        raise Mistake(f"the decided class cannot overtake itself, but rival is {classes[target]}; name another.")
    return torch.tensor(chosen, device=question.query.embedding.device)


def _unchanged(compared: Compared, question: Question, edit: str, proven: bool) -> Counterfactual:
    before, image = question.ranking.cpu(), visible(compared.encoder, compared.queries[0].cpu())
    return Counterfactual(
        edit=edit,
        classes=question.supports.classes,
        target=int(question.target),
        rival=None,
        donor=None,
        cells=(),
        replaced_by=None,
        minimal=proven,
        scores_before=before,
        scores_at_features=before,
        scores_at_pixels=before,
        mask=torch.zeros(question.query.maps.shape[1:], dtype=torch.bool),
        image_before=image,
        image_after=image,
        frozen_attention=question.query.trace is not None,
    )


def _decided_again(
    unchanged: Counterfactual, compared: Compared, question: Question, found: CellEdit
) -> Counterfactual:
    """Confirm an edit by one forward of the edited image."""
    height, width = unchanged.mask.shape
    cells = tuple(divmod(number, width) for number in found.cells.tolist())
    changed = replace(
        unchanged,
        rival=found.rival,
        donor=found.donor,
        cells=cells,
        replaced_by=_replaced_by(question, found),
        scores_at_features=found.scores.cpu(),
        scores_at_pixels=None,
        mask=unchanged.mask.flatten().index_fill(0, found.cells.cpu(), True).reshape(height, width),
        image_after=None,
    )
    image, given = at_hand(compared.queries[0]), None
    if found.sources is not None and found.donor is not None:
        if compared.support_images is None:
            return changed
        grid = (support_maps(question).shape[-2], support_maps(question).shape[-1])
        given = (compared.support_images[found.donor].to(image), grid, found.sources.to(image.device))
    after = edited_image(image, (height, width), found.cells.to(image.device), given)
    embedding = compared.encoder(after[None]).in_float64().embedding[0]
    scores = question.rule.decision_scores(embedding, question.supports, question.similarity)
    both = visible(compared.encoder, torch.cat([image, after], dim=-1).cpu())  # stretched alike
    before, edited = both.chunk(2, dim=-1)
    return replace(changed, scores_at_pixels=scores.cpu(), image_before=before, image_after=edited)


def _replaced_by(question: Question, found: CellEdit) -> tuple[tuple[int, int, int], ...] | None:
    if found.sources is None:
        return None
    rows, columns = support_maps(question).shape[-2:]
    return tuple(
        (number // (rows * columns), number // columns % rows, number % columns) for number in found.sources.tolist()
    )
