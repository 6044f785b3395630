"""Which images: one model per kind of data set, and how each is opened."""

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from episodes import CsvBoxes, Cub200, DigitScenes, ImageFolder, LabeledImages, OxfordPet, Split, select
from fsl_explain.config.strict import LocalPath, Settings


class _Data(Settings):
    split: str | None = Field(None, description="A built-in split, or a CSV file of class and part; None: all classes.")
    part: Literal["base", "validation", "novel"] = Field("novel", description="The part of the split to use.")
    classes: tuple[str, ...] | None = Field(None, description="Only these classes; None: all of them.")

    @abstractmethod
    def _dataset(self) -> LabeledImages: ...

    @property
    def loaded_split(self) -> Split | None:
        """The split, read from its file, or None when all classes are used."""
        return None if self.split is None else Split.load(self.split)

    def open(self) -> LabeledImages:
        """Open the data set, restricted to the chosen part or classes. Images are read when asked for."""
        dataset = self._dataset()
        split = self.loaded_split
        if split is not None:
            dataset = select(dataset, split.classes(self.part))
        return dataset if self.classes is None else select(dataset, self.classes)


class DigitScenesData(_Data):
    """The embedded data set: handwritten digits on photographs, generated in seconds."""

    kind: Literal["digit-scenes"]
    digits: Literal["base", "novel"] = Field("novel", description="Training digits, or digits never trained on.")
    per_class: int = Field(60, ge=1, description="Scenes per class.")
    seed: int = Field(0, ge=0, description="Seed of the scenes.")
    distractor: bool = Field(False, description="Add a digit of another class, which is not annotated.")

    def _dataset(self) -> LabeledImages:
        return DigitScenes(self.digits, per_class=self.per_class, seed=self.seed, distractor=self.distractor)


class CubData(_Data):
    """CUB-200-2011 in its official layout."""

    kind: Literal["cub"]
    root: LocalPath = Field(description="The folder that holds images.txt.")

    def _dataset(self) -> LabeledImages:
        return Cub200(self.root)


class FolderData(_Data):
    """One folder of images per class, without annotations."""

    kind: Literal["image-folder"]
    root: LocalPath = Field(description="The folder that holds one folder per class.")

    def _dataset(self) -> LabeledImages:
        return ImageFolder(self.root)


class CsvData(_Data):
    """A CSV table of file, class and box."""

    kind: Literal["csv"]
    root: LocalPath = Field(description="The folder that holds the table and the images.")
    table: str = Field("annotations.csv", description="The table, relative to root.")
    images: str = Field("images", description="The folder of the images, relative to root.")
    file: str = Field("file", description="The column of the file name.")
    label: str = Field("class", description="The column of the class.")
    inclusive: bool = Field(True, description="xmax and ymax are the last pixels inside the box.")

    def _dataset(self) -> LabeledImages:
        return CsvBoxes(
            self.root,
            table=self.table,
            images=self.images,
            file=self.file,
            label=self.label,
            inclusive=self.inclusive,
        )


class PetData(_Data):
    """Oxford-IIIT Pet in its official layout, with trimaps as masks."""

    kind: Literal["oxford-pet"]
    root: LocalPath = Field(description="The folder that holds images/ and annotations/.")

    def _dataset(self) -> LabeledImages:
        return OxfordPet(self.root)


DataConfig = Annotated[DigitScenesData | CubData | FolderData | CsvData | PetData, Field(discriminator="kind")]
