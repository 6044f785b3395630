from .annotation import box_mask, checked_boxes, mask_box
from .datasets.csv_boxes import CsvBoxes
from .datasets.cub import Cub200
from .datasets.cub_parts import PartLocation
from .datasets.digit_scenes import DigitScenes
from .datasets.hugging_face_images import HuggingFaceImages
from .datasets.image_files import ImageFiles
from .datasets.image_folder import ImageFolder
from .datasets.imagenet import ImageNetValidation
from .datasets.imagenet_s import ImageNetS
from .datasets.mini_imagenet import MiniImageNet
from .datasets.omniglot import Omniglot
from .datasets.oxford_pet import OxfordPet
from .datasets.pascal_voc import VOC_CLASSES, PascalVoc
from .datasets.tiered_imagenet import TieredImageNet
from .datasets.torchvision_images import TorchvisionImages
from .easyfsl import CollatedTasks, drawn_episodes, supports_by_class
from .episode import Episode
from .errors import Mistake
from .files import open_regular, read_regular
from .labeled_image import PIXEL_LIMIT, LabeledImage, LabeledImages, as_rgb, find_images, read_image
from .learn2learn import EpisodeTasks, frozen_episodes, meta_dataset
from .naming import nearest, unknown_name
from .reading import Readable, read_images, readable
from .sampler import EpisodeSampler
from .split import Split, select
from .transforms import BlueGreenRed, PreparedImage, center_crop, direct_resize, prepare, training_transform

__version__: str
__all__ = [
    "PIXEL_LIMIT",
    "VOC_CLASSES",
    "BlueGreenRed",
    "CollatedTasks",
    "CsvBoxes",
    "Cub200",
    "DigitScenes",
    "Episode",
    "EpisodeSampler",
    "EpisodeTasks",
    "HuggingFaceImages",
    "ImageFiles",
    "ImageFolder",
    "ImageNetS",
    "ImageNetValidation",
    "LabeledImage",
    "LabeledImages",
    "MiniImageNet",
    "Mistake",
    "Omniglot",
    "OxfordPet",
    "PartLocation",
    "PascalVoc",
    "PreparedImage",
    "Readable",
    "Split",
    "TieredImageNet",
    "TorchvisionImages",
    "as_rgb",
    "box_mask",
    "center_crop",
    "checked_boxes",
    "direct_resize",
    "drawn_episodes",
    "find_images",
    "frozen_episodes",
    "mask_box",
    "meta_dataset",
    "nearest",
    "open_regular",
    "prepare",
    "read_image",
    "read_images",
    "read_regular",
    "readable",
    "select",
    "supports_by_class",
    "training_transform",
    "unknown_name",
]
