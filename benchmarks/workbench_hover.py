"""How long pointing at a cell takes in the workbench: from the event to the end of drawing, and until it is painted.

    python benchmarks/workbench_hover.py

A real Chromium, without a graphics processor, shows an explanation with 14×14 cells on both sides, its receipt beside
it, and the pointer is moved 100 times from cell to cell, over the query and over the neighbor. Nothing is asked of a
server meanwhile. The bound is one frame of 60 in a second, 16 milliseconds.
"""

import argparse
import base64
import io
import shutil
import statistics
from pathlib import Path

import numpy as np
import PIL.Image
from playwright.sync_api import Page, Route, sync_playwright

PAGE = Path(__file__).resolve().parents[1] / "fsl_explain" / "serve" / "page"
KINDS = {".js": "text/javascript", ".css": "text/css"}
ADDRESS = "http://workbench.invalid"
BEGIN = """async (why) => {
  for (const name of ["style.css", "pair_view.css", "views.css"]) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: `/assets/${name}` });
    document.head.append(link);
    await new Promise((done) => { link.onload = done; });
  }
  document.body.append(Object.assign(document.createElement("p"), { id: "status" }));
  const { whyPanel } = await import("/assets/why_panel.js");
  const panel = whyPanel(why);
  document.body.append(panel);
  window.panel = panel;
  window.painted = [];
  document.addEventListener("pointermove", () => {
    const begin = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.painted.push(performance.now() - begin);
      channel.port2.postMessage(0);
    });
  }, true);
}"""


def main() -> None:
    """Print the medians and the worst of both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=14, help="of a side")
    parser.add_argument("--supports", type=int, default=1)
    parser.add_argument("--moves", type=int, default=100)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        path = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.route("**/*", answered)
        page.goto(ADDRESS)
        page.evaluate(BEGIN, explanation(options.cells, options.supports))
        page.wait_for_timeout(300)
        before = len(asked)
        for side, name in enumerate(("query", "neighbor")):
            measure(page, side, name, options.cells, options.moves)
        print(f"requests while pointing: {len(asked) - before}")
        browser.close()


def measure(page: Page, side: int, name: str, cells: int, moves: int) -> None:
    """Move over the cells of one side and print what the page noted."""
    page.evaluate("() => { window.panel.view.times.length = 0; window.painted.length = 0; }")
    stage = page.locator(".pv-stage").nth(side)
    stage.scroll_into_view_if_needed()
    place = stage.bounding_box()
    assert place is not None
    for cell in np.random.default_rng(0).integers(cells**2, size=moves):
        row, column = divmod(int(cell), cells)
        page.mouse.move(
            place["x"] + (column + 0.5) * place["width"] / cells, place["y"] + (row + 0.5) * place["height"] / cells
        )
        page.wait_for_timeout(20)
    drawn, painted = page.evaluate("() => [window.panel.view.times, window.painted]")
    for what, taken in (("until drawn", drawn), ("until painted", painted)):
        worst = sorted(taken)[int(0.95 * len(taken))]
        print(f"{name}, {what}: median {statistics.median(taken):.2f} ms, 95 % {worst:.2f} ms ({len(taken)} moves)")


def explanation(cells: int, supports: int) -> dict[str, object]:
    """Return an explanation as the server sends it, of random amounts."""
    chance = np.random.default_rng(0)
    tables = [chance.normal(size=(cells**2 + 1, cells**2 + 1)).astype("<f4") for _ in range(supports)]
    totals = [float(table.sum()) for table in tables]
    lines = [
        {"name": f"image {place}", "weight": 1.0 + place, "similarity": total / (1 + place), "amount": total}
        for place, total in enumerate(totals)
    ]
    found = [
        {
            **{key: line[key] for key in ("weight", "similarity", "amount")},
            "title": line["name"],
            "picture": picture(),
            "side": "for",
            "cells": array(table[:-1, :-1].sum(0).reshape(cells, cells)),
            "pairs": {"grid": [cells, cells], "support_grid": [cells, cells], "table": array(table)},
        }
        for line, table in zip(lines, tables, strict=True)
    ]
    score = sum(totals)
    numbers = {"score": score, "total": score, "residual": 0.0, "absolute_sum": sum(map(abs, totals)), "bias": 0.0}
    rows = sum(table[:-1].sum(1) for table in tables).reshape(cells, cells)
    return {
        "title": "Why?",
        "sentence": "",
        "method": "exact",
        "signed": True,
        "adds_up": True,
        "score": score,
        "color_meanings": ["against", "for"],
        "query": {"picture": picture(), "cells": array(rows)},
        "supports": found,
        "receipt": {**numbers, "lines": lines, "constants": [], "named": [], "share_of_cells": 1.0, "text": ""},
        "channels": None,
        "notes": [],
        "call": "",
    }


def array(values: np.ndarray) -> dict[str, object]:
    """Return an array as the server sends it."""
    return {"shape": list(values.shape), "data": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def picture() -> str:
    """Return a photograph-sized picture of noise."""
    noise = np.random.default_rng(1).integers(255, size=(224, 224, 3), dtype=np.uint8)
    written = io.BytesIO()
    PIL.Image.fromarray(noise).save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def answered(route: Route) -> None:
    """Answer with a part of the page, or an empty page."""
    path = PAGE / route.request.url.rsplit("/", 1)[-1]
    if path.suffix in KINDS:
        route.fulfill(path=path, content_type=KINDS[path.suffix])
    elif route.request.url.startswith("data:"):
        route.continue_()
    else:
        route.fulfill(body="<!DOCTYPE html><title>Pointing</title>", content_type="text/html")


if __name__ == "__main__":
    main()
