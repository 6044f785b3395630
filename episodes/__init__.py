"""What is looked at: labeled images with boxes or masks, named splits, seeded episodes."""

from episodes.annotation import box_mask, checked_boxes, mask_box
from episodes.csv_boxes import CsvBoxes
from episodes.cub import Cub200
from episodes.digit_scenes import DigitScenes
from episodes.episode import Episode
from episodes.image_files import ImageFiles
from episodes.image_folder import ImageFolder
from episodes.labeled_image import PIXEL_LIMIT, LabeledImage, LabeledImages, find_images, read_image
from episodes.naming import nearest, unknown_name
from episodes.oxford_pet import OxfordPet
from episodes.sampler import EpisodeSampler
from episodes.split import Split, select
from episodes.transforms import PreparedImage, direct_resize, prepare, training_transform

__all__ = [
    "PIXEL_LIMIT",
    "CsvBoxes",
    "Cub200",
    "DigitScenes",
    "Episode",
    "EpisodeSampler",
    "ImageFiles",
    "ImageFolder",
    "LabeledImage",
    "LabeledImages",
    "OxfordPet",
    "PreparedImage",
    "Split",
    "box_mask",
    "checked_boxes",
    "direct_resize",
    "find_images",
    "mask_box",
    "nearest",
    "prepare",
    "read_image",
    "select",
    "training_transform",
    "unknown_name",
]
