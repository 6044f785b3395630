"""Pictures of the workbench for the documents: python docs/workbench_figures.py

Builds banks of the embedded scenes in a temporary folder, starts both servers, and drives a Chromium through the views
of FIGURES. With --images and --encoder the same is seen of a folder of photographs, which need another --out: the
documents show the embedded data alone.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import PIL.Image
from playwright.sync_api import Browser, sync_playwright

from episodes.datasets.digit_scenes import DigitScenes

DOCS = Path(__file__).resolve().parent
DEMO = DOCS.parent / "fsl_explain" / "demo"
WEIGHTS = {name: DEMO / f"{name}-digit-scenes.safetensors" for name in ("conv4net", "demo-vit")}
WIDE, PHONE = (1280, 860), (390, 844)
COLORS = 200  # of a picture, so that it stays small
Words = Sequence[object]


@dataclass(frozen=True)
class Figure:
    """One view: what the address says, how wide the window is, and in which colors."""

    name: str
    hash: str
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    of: str = "banks"


FIGURES = (
    Figure("search", "#query=image:0:3&k=10"),
    Figure("why", "#view=why&query=image:0:3&cell=query:0.55,0.35"),
    Figure("two-banks", "#view=why&query=image:0:3&compare=1", scheme="dark"),
    Figure("why-not-phone", "#view=why-not&query=image:0:3&expected=id:20", PHONE),
    Figure("audit-phone", "#view=audit&audit=1&top=5", PHONE, "dark"),
    Figure("episode", "#query=support:0", of="episodes"),
)


def main() -> None:
    """Draw every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DOCS / "figures")
    parser.add_argument("--images", type=Path, help="a folder of photographs by class")
    parser.add_argument("--encoder", default="efficientnet-lite0", help="of --images")
    options = parser.parse_args()
    if options.images is not None and options.out == DOCS / "figures":
        parser.error("photographs are not for the documents; give another --out.")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        images = options.images or scenes(Path(made) / "scenes")
        encoders = {options.encoder: None} if options.images else WEIGHTS
        path = next(one for one in ("/usr/bin/chromium", shutil.which("chromium")) if one and Path(one).exists())
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        with served(commands(images, encoders, Path(made))) as addresses:
            for figure in FIGURES:
                if not ("compare=1" in figure.hash and len(encoders) < 2):
                    draw(browser, addresses[figure.of], figure, options.out / f"workbench-{figure.name}.png")


def scenes(root: Path) -> Path:
    """Write the embedded scenes as files by class."""
    made = DigitScenes("novel", per_class=12)
    for place in range(len(made)):
        folder = root / f"digit_{made.classes[made.labels[place]]}"
        folder.mkdir(parents=True, exist_ok=True)
        made[place].image.save(folder / f"scene-{place:03d}.png")
    return root


def commands(images: Path, encoders: dict[str, Path | None], made: Path) -> dict[str, Words]:
    """Build the banks and choose the supports; return the command that serves each."""
    banks: list[object] = []
    for name, checkpoint in encoders.items():
        weights = [] if checkpoint is None else ["--checkpoint", checkpoint]
        bank = made / f"by-{name}"
        run("retrieval_explain", "build", images, "--bank", bank, "--encoder", name, *weights).wait()
        banks += ["--bank", bank, "--encoder", name, *weights]
    for folder in sorted(one for one in images.iterdir() if one.is_dir())[:5]:
        (made / "supports" / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:2]:
            shutil.copy(image, made / "supports" / folder.name)
    name, checkpoint = next(iter(encoders.items()))
    weights = [] if checkpoint is None else ["--checkpoint", checkpoint]
    supports = ["--support", made / "supports", "--encoder", name, *weights]
    return {
        "banks": ("retrieval_explain", "serve", *banks, "--port", 0),
        "episodes": ("fsl_explain", "serve", *supports, "--port", 0),
    }


def run(package: str, *words: object) -> subprocess.Popen[str]:
    """Start a command of a package."""
    program = f"import sys; from {package}.cli import main; sys.argv[1:] = {[str(word) for word in words]!r}; main()"
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=DOCS.parent)


@contextmanager
def served(wanted: dict[str, Words]) -> Iterator[dict[str, str]]:
    """Serve while the block runs; gives the address of each."""
    running = {name: run(*map(str, words)) for name, words in wanted.items()}
    try:
        yield {name: address_of(process) for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def address_of(process: subprocess.Popen[str]) -> str:
    """Return the address that a server prints."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+", line):
            return found.group().rstrip("/")
    raise RuntimeError("the server ended without an address; run its command to see why.")


def draw(browser: Browser, address: str, figure: Figure, path: Path) -> None:
    """Open one view and keep it as a picture of few colors."""
    page = browser.new_page(
        viewport=dict(zip(("width", "height"), figure.size, strict=True)), color_scheme=figure.scheme
    )
    page.goto("about:blank")
    page.goto(f"{address}/{figure.hash}", wait_until="networkidle")
    page.wait_for_selector("[aria-busy]", state="detached", timeout=120_000)
    page.wait_for_timeout(500)
    if figure.size == PHONE:
        page.locator("main").evaluate("(main) => main.scrollIntoView()")
        page.wait_for_timeout(500)
    with PIL.Image.open(BytesIO(page.screenshot())) as seen:
        seen.convert("RGB").quantize(COLORS, dither=PIL.Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    page.close()


if __name__ == "__main__":
    main()
