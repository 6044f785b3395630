"""The half for text of a model of images and texts: built beside the image tower, filled from the same file."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.text import TextTower
from fsl_explain.backbones.weights.checkpoint import check_finite, listed
from fsl_explain.backbones.weights.loading import Checkpoint

Rename = Callable[[Mapping[str, Tensor], nn.Module], Mapping[str, Tensor]]


@dataclass(frozen=True)
class TextPart:
    """A text tower whose network has no image tower any more, with weights as it was built.

    ``rename`` gives the tensors of a checkpoint, of older versions too, the library's names. ``of_images`` are the
    names of the image tower's own tensors, which a file of that alone has.
    """

    tower: TextTower
    rename: Rename
    of_images: Collection[str]

    def filled(self, checkpoint: Checkpoint | None) -> TextTower | None:
        """Return the tower with the weights of a checkpoint, or as it is; None where a checkpoint has none for text.

        Raises: ``ValueError`` for a file that has some of its tensors but not all, or of other shapes.
        """
        if checkpoint is None:
            return self.tower
        own = self.tower.network.state_dict()
        states = [self._bare(state) for state in (*checkpoint.parts.values(), checkpoint.state)]
        found = max(states, key=lambda state: len(own.keys() & state.keys()))
        if not (own.keys() - set(self.of_images)) & found.keys():
            return None
        wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
        if wrong:
            raise Mistake(
                f"expected {checkpoint.path} to hold the text tower beside the image tower, but it misses or has in "
                f"other shapes {listed('of its tensors', wrong)}; give the file of the same model."
            )
        kept = {name: found[name] for name in own}
        check_finite(kept, str(checkpoint.path))
        self.tower.network.load_state_dict(kept)
        return self.tower

    def _bare(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors without what wrappers put before all names, in the library's names."""
        bare = dict(state)
        while bare and len({name.partition(".")[0] for name in bare}) == 1 and all("." in name for name in bare):
            bare = {name.partition(".")[2]: value for name, value in bare.items()}
        return self.rename(bare, self.tower.network)
