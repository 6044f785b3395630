"""What is looked at: labeled images with boxes or masks, named splits, seeded episodes."""

from episodes.annotation import box_mask, checked_boxes, mask_box
from episodes.datasets.csv_boxes import CsvBoxes
from episodes.datasets.cub import Cub200
from episodes.datasets.cub_parts import PartLocation
from episodes.datasets.digit_scenes import DigitScenes
from episodes.datasets.image_files import ImageFiles
from episodes.datasets.image_folder import ImageFolder
from episodes.datasets.imagenet import ImageNetValidation
from episodes.datasets.imagenet_s import ImageNetS
from episodes.datasets.mini_imagenet import MiniImageNet
from episodes.datasets.omniglot import Omniglot
from episodes.datasets.oxford_pet import OxfordPet
from episodes.datasets.pascal_voc import VOC_CLASSES, PascalVoc
from episodes.datasets.tiered_imagenet import TieredImageNet
from episodes.datasets.torchvision_images import TorchvisionImages
from episodes.episode import Episode
from episodes.labeled_image import PIXEL_LIMIT, LabeledImage, LabeledImages, find_images, read_image
from episodes.learn2learn import EpisodeTasks, frozen_episodes, meta_dataset
from episodes.naming import nearest, unknown_name
from episodes.sampler import EpisodeSampler
from episodes.split import Split, select
from episodes.transforms import BlueGreenRed, PreparedImage, center_crop, direct_resize, prepare, training_transform

__all__ = [
    "PIXEL_LIMIT",
    "VOC_CLASSES",
    "BlueGreenRed",
    "CsvBoxes",
    "Cub200",
    "DigitScenes",
    "Episode",
    "EpisodeSampler",
    "EpisodeTasks",
    "ImageFiles",
    "ImageFolder",
    "ImageNetS",
    "ImageNetValidation",
    "LabeledImage",
    "LabeledImages",
    "MiniImageNet",
    "Omniglot",
    "OxfordPet",
    "PartLocation",
    "PascalVoc",
    "PreparedImage",
    "Split",
    "TieredImageNet",
    "TorchvisionImages",
    "box_mask",
    "center_crop",
    "checked_boxes",
    "direct_resize",
    "find_images",
    "frozen_episodes",
    "mask_box",
    "meta_dataset",
    "nearest",
    "prepare",
    "read_image",
    "select",
    "training_transform",
    "unknown_name",
]
