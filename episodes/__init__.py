"""What is looked at: labeled images with boxes or masks, named splits, seeded episodes."""

from episodes.annotation import box_mask, checked_boxes, mask_box
from episodes.csv_boxes import CsvBoxes
from episodes.cub import Cub200
from episodes.cub_parts import PartLocation
from episodes.digit_scenes import DigitScenes
from episodes.episode import Episode
from episodes.image_files import ImageFiles
from episodes.image_folder import ImageFolder
from episodes.imagenet import ImageNetValidation
from episodes.imagenet_s import ImageNetS
from episodes.labeled_image import PIXEL_LIMIT, LabeledImage, LabeledImages, find_images, read_image
from episodes.learn2learn import EpisodeTasks, frozen_episodes, meta_dataset
from episodes.mini_imagenet import MiniImageNet
from episodes.naming import nearest, unknown_name
from episodes.omniglot import Omniglot
from episodes.oxford_pet import OxfordPet
from episodes.pascal_voc import VOC_CLASSES, PascalVoc
from episodes.sampler import EpisodeSampler
from episodes.split import Split, select
from episodes.tiered_imagenet import TieredImageNet
from episodes.torchvision_images import TorchvisionImages
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
