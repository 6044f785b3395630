"""Paths as pages and shared files show them: below the folder that all images of a bank lie in."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder that all absolute paths of a bank lie in; "" where there is none."""
    folders = {str(Path(path).parent) for path in paths if path and Path(path).is_absolute()}
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # of several drives
        return ""


def shown_path(path: str, folder: str) -> str:
    """Return a path below the folder, or the name of a file that lies elsewhere; a relative path stays as it is."""
    if not path or not Path(path).is_absolute():
        return path
    below = PurePath(path)
    return str(below.relative_to(folder)) if folder and below.is_relative_to(folder) else below.name
