"""Which images: one model per kind of data set, and how each is opened."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, TypeVar, get_args

from pydantic import Field, SerializeAsAny, WrapValidator

import episodes
from episodes.box_formats import BoxFormat
from episodes.errors import MissingFile
from episodes.registry import Registry
from fsl_explain.config.names import of_its_kind
from fsl_explain.config.numbers import LARGEST_SEED, MOST_AT_ONCE
from fsl_explain.config.strict import LocalPath, Settings, SplitName


class DataOptions(Settings):
    """Which images of a data set, whatever its kind."""

    origin: ClassVar[str | None] = None  # where the official data come from

    split: SplitName | None = Field(None, description="A built-in split, or a CSV file of class and part; None: all.")
    part: Literal["base", "validation", "novel"] = Field("novel", description="The part of the split to use.")
    classes: tuple[str, ...] | None = Field(None, description="Only these classes; None: all of them.")
    kind: str

    @abstractmethod
    def _dataset(self) -> "episodes.LabeledImages": ...

    def _named(self, classes: tuple[str, ...], dataset: "episodes.LabeledImages") -> tuple[str, ...]:  # noqa: ARG002
        """Return the classes of the data set that the classes of a split stand for."""
        return classes

    @property
    def loaded_split(self) -> "episodes.Split | None":
        """The split, read from its file, or None when all classes are used."""
        return None if self.split is None else episodes.Split.load(self.split)

    @property
    def _where_to_get(self) -> str | None:
        """Where the data come from, or None when that is not known."""
        return self.origin

    def check_there(self, section: str = "data") -> None:
        """Raise ``FileNotFoundError`` that says where to get the data; ``section`` is where the settings stand."""
        root = getattr(self, "root", None)
        if root is not None and not root.exists():
            where = self._where_to_get
            there = "" if where is None else f"get {where}, and "
            raise MissingFile(
                f"the folder {root} does not exist; {there}name its place as the root, as in --set {section}.root=…."
            )

    def open(self, section: str = "data") -> "episodes.LabeledImages":
        """Open the data set, restricted to the chosen part or classes. Images are read when asked for.

        ``section`` is where the settings stand, which an error names.

        Raises: ``FileNotFoundError`` that says where to get the data, and ``ValueError`` for data that are wrong.
        """
        self.check_there(section)
        dataset = self._dataset()
        split = self.loaded_split
        if split is not None:
            dataset = episodes.select(dataset, self._named(split.classes(self.part), dataset))
        return dataset if self.classes is None else episodes.select(dataset, self.classes)


Options = TypeVar("Options", bound=DataOptions)
DATA_SETS: Registry[type[DataOptions]] = Registry("kind of data", {})


def data_set(options: type[Options]) -> type[Options]:
    """Register the options of a data set under its kind, so that a configuration may name it."""
    kind: str = get_args(options.model_fields["kind"].annotation)[0]
    DATA_SETS[kind] = options
    return options


@data_set
class DigitScenesData(DataOptions):
    """The embedded data set: handwritten digits on photographs, generated in seconds."""

    kind: Literal["digit-scenes"]
    digits: Literal["base", "novel"] = Field("novel", description="Training digits, or digits never trained on.")
    per_class: int = Field(60, ge=1, le=MOST_AT_ONCE, description="Scenes per class.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the scenes.")
    distractor: bool = Field(False, description="Add a digit of another class, which is not annotated.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.DigitScenes(
            part=self.digits, per_class=self.per_class, seed=self.seed, distractor=self.distractor
        )


@data_set
class CubData(DataOptions):
    """CUB-200-2011 in its official layout."""

    origin: ClassVar[str | None] = "CUB-200-2011, from vision.caltech.edu/datasets/cub_200_2011"

    kind: Literal["cub"]
    root: LocalPath = Field(description="The folder that holds images.txt.")
    half: Literal["train", "test"] | None = Field(None, description="The official half of the images; None: both.")
    segmentations: bool = Field(False, description="Take masks from the official folder segmentations.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.Cub200(self.root, part=self.half, segmentations=self.segmentations)


@data_set
class FolderData(DataOptions):
    """One folder of images per class, without annotations."""

    kind: Literal["image-folder"]
    root: LocalPath = Field(description="The folder that holds one folder per class.")
    source: str | None = Field(None, description="Where the images come from, to be said when they are missing.")

    @property
    def _where_to_get(self) -> str | None:
        return self.source

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.ImageFolder(self.root)


@data_set
class CsvData(DataOptions):
    """A CSV table of file, class and box."""

    kind: Literal["csv"]
    root: LocalPath = Field(description="The folder that holds the table and the images.")
    table: str = Field("annotations.csv", description="The table, relative to root.")
    images: str = Field("images", description="The folder of the images, relative to root.")
    file: str = Field("file", description="The column of the file name.")
    label: str = Field("class", description="The column of the class.")
    inclusive: bool = Field(True, description="xmax and ymax are the last pixels inside the box.")
    box_format: BoxFormat = Field("xyxy", description="What the four numbers of a box are.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.CsvBoxes(
            self.root,
            table=self.table,
            images=self.images,
            file=self.file,
            label=self.label,
            inclusive=self.inclusive,
            box_format=self.box_format,
        )


@data_set
class PetData(DataOptions):
    """Oxford-IIIT Pet in its official layout, with trimaps as masks."""

    origin: ClassVar[str | None] = "the Oxford-IIIT Pet images and annotations, from robots.ox.ac.uk/~vgg/data/pets"

    kind: Literal["oxford-pet"]
    root: LocalPath = Field(description="The folder that holds images/ and annotations/.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.OxfordPet(self.root)


@data_set
class MiniImageNetData(DataOptions):
    """miniImageNet: train.csv, val.csv, test.csv and images/, or the folders train, val, test."""

    origin: ClassVar[str | None] = "miniImageNet, from ImageNet's training images and the tables of Ravi and Larochelle"

    kind: Literal["mini-imagenet"]
    root: LocalPath = Field(description="The folder that holds the tables and images, or the three folders.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.MiniImageNet(self.root)


@data_set
class TieredImageNetData(DataOptions):
    """tieredImageNet as the folders train, val and test."""

    origin: ClassVar[str | None] = "tieredImageNet, from ImageNet's training images and the splits of Ren et al."

    kind: Literal["tiered-imagenet"]
    root: LocalPath = Field(description="The folder that holds train, val and test.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.TieredImageNet(self.root)


@data_set
class ImageNetValidationData(DataOptions):
    """ImageNet's validation images with XML boxes."""

    origin: ClassVar[str | None] = "the validation images of ILSVRC 2012 and their bounding boxes, from image-net.org"

    kind: Literal["imagenet-validation"]
    root: LocalPath = Field(description="The folder that holds ILSVRC, or ILSVRC itself, or that of val.")
    images: str | None = Field(None, description="Folder of the images in root; None: the official one.")
    annotations: str | None = Field(None, description="Folder of the XML files in root; None: the official one.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.ImageNetValidation(self.root, images=self.images, annotations=self.annotations)


@data_set
class ImageNetSData(DataOptions):
    """ImageNet-S: images with the mask of their class."""

    origin: ClassVar[str | None] = "ImageNet-S, made from ImageNet by the tools of its authors, LUSSeg/ImageNet-S"

    kind: Literal["imagenet-s"]
    root: LocalPath = Field(description="The folder of one subset, such as ImageNetS919.")
    section: Literal["validation", "train-semi"] = Field("validation", description="Which of the masked images.")
    single_category: bool = Field(False, description="Only images whose mask shows their class alone, as in LaFAM.")
    categories: LocalPath | None = Field(None, description="The official list of categories; None: the class folders.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.ImageNetS(
            self.root, part=self.section, single_category=self.single_category, categories=self.categories
        )


@data_set
class PascalVocData(DataOptions):
    """PASCAL VOC 2007 or 2012 with boxes or masks."""

    origin: ClassVar[str | None] = "PASCAL VOC, from host.robots.ox.ac.uk/pascal/VOC"

    kind: Literal["pascal-voc"]
    root: LocalPath = Field(description="The folder that holds VOCdevkit, or VOC2012, or ImageSets.")
    year: Literal["2007", "2012"] = Field("2012", description="The year of the challenge.")
    image_set: str = Field("trainval", description="The list in ImageSets: train, val, trainval or test.")
    annotation: Literal["boxes", "masks"] = Field("boxes", description="What shows where the object is.")
    labels: tuple[str, ...] | None = Field(None, description="Only images of these categories; None: all 20.")
    single_category: bool = Field(False, description="Only images that show one category alone, as in LaFAM.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.PascalVoc(
            self.root,
            year=self.year,
            image_set=self.image_set,
            annotation=self.annotation,
            labels=self.labels,
            single_category=self.single_category,
        )


@data_set
class OmniglotData(DataOptions):
    """Omniglot: handwritten characters, without annotations."""

    origin: ClassVar[str | None] = "Omniglot, from github.com/brendenlake/omniglot"

    kind: Literal["omniglot"]
    root: LocalPath = Field(description="The folder that holds omniglot-py, or the two image folders.")
    alphabets: Literal["background", "evaluation"] | None = Field(None, description="Which alphabets; None: all.")
    rotations: bool = Field(False, description="Characters turned by 90, 180 and 270 degrees are classes too.")

    def _dataset(self) -> "episodes.LabeledImages":
        return episodes.Omniglot(self.root, part=self.alphabets, rotations=self.rotations)

    def _named(self, classes: tuple[str, ...], dataset: "episodes.LabeledImages") -> tuple[str, ...]:
        """Return the characters of a split, and where asked for the turned ones, which belong to the same part."""
        turned = [name for name in dataset.classes if name.partition(" turned ")[0] in classes]
        return tuple(dict.fromkeys((*classes, *turned)))


DataConfig = Annotated[
    SerializeAsAny[DataOptions],
    WrapValidator(lambda values, read, info: read(of_its_kind(values, DATA_SETS, info.context))),
]
"""Settings of a data set of any registered kind."""
