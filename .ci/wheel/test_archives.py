"""Both archives hold what git tracks, so that a kind of file forgotten in pyproject.toml or MANIFEST.in is found."""

import tarfile
import zipfile

from conftest import tracked

PACKAGES = ("episodes/", "fsl_explain/", "retrieval_explain/")
KINDS = (
    "episodes/splits/cub10.csv",
    "fsl_explain/demo/demo.toml",
    "fsl_explain/report/page.html",
    "fsl_explain/py.typed",
)


def test_the_wheel_holds_the_tracked_files_of_the_packages_and_no_other(archives):
    with zipfile.ZipFile(archives.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {name for name in tracked() if name.startswith(PACKAGES)}
    assert expected.issuperset(KINDS)
    assert held == expected


def test_the_source_archive_holds_every_tracked_file(archives):
    with tarfile.open(archives.source) as source:
        held = {member.name.partition("/")[2] for member in source.getmembers() if member.isfile()}
    made = {"PKG-INFO", "setup.cfg", *(name for name in held if name.startswith("fsl_explain.egg-info/"))}
    assert held - made == set(tracked())


def test_the_wheel_says_its_license_and_its_readme(archives):
    with zipfile.ZipFile(archives.wheel) as wheel:
        folder = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
        metadata = wheel.read(f"{folder}/METADATA").decode()
        assert wheel.read(f"{folder}/licenses/LICENSE")
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "# fsl-explain" in metadata
