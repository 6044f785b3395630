"""The app of a folder of supports: a query, supports that can be moved about, and why it is decided as it is."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, Field

from episodes import ImageFolder
from episodes.box_formats import Box
from fsl_explain.backbones.random_parts import random_words
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.compared import visible
from fsl_explain.registries import RULES, SIMILARITIES, TRANSDUCTIVE_RULES
from fsl_explain.serve.box_text import box_from_text
from fsl_explain.serve.episode import ENCODER, MOST_SUPPORTS, Support, SupportFolder
from fsl_explain.serve.episode_answer import Asked, arrays_of, episode_answer, json_of, page_of
from fsl_explain.serve.frame import Frame, download, new_app, picture
from fsl_explain.serve.offered import described, offered_details, offered_methods
from fsl_explain.serve.pictures import from_tensor, webp
from fsl_explain.serve.uploads import Uploads
from fsl_explain.similarities import named_similarity

NOT_OFFERED = ("relation-network", *TRANSDUCTIVE_RULES)
"""Rules that need a relation module or the other queries of an episode, which the page has not."""

USUAL_RULE, USUAL_SIMILARITY = "mean-similarity", "cosine"


class SupportGiven(BaseModel, extra="forbid", frozen=True):
    """One support and its class."""

    image: str = Field(max_length=2000)
    label: str


class EpisodeGiven(BaseModel, extra="forbid", frozen=True):
    """A decision to make and to explain."""

    query: str
    supports: list[SupportGiven] = Field(max_length=MOST_SUPPORTS)
    box: str | None = None
    rule: str = USUAL_RULE
    similarity: str = USUAL_SIMILARITY
    method: str = "contrast"
    target: str | None = None
    against: str | None = None
    detail: int = 0
    biases: str = "drawn"

    def asked(self) -> Asked:
        """Return the same, checked. Raises: ``ValueError``."""
        supports = [Support(one.image, one.label) for one in self.supports]
        drawn = (self.detail, self.biases)
        explained = (self.rule, self.similarity, self.method, self.target or None, self.against or None)
        return Asked(self.query, supports, box_from_text(self.box or ""), *explained, *drawn)


def create_app(
    folder: str | Path | ImageFolder, encoder: Encoder, *, made_by: str = ENCODER, frame: Frame | None = None
) -> FastAPI:
    """Return the app of a folder of supports, ``DIR/CLASS/IMAGE``.

    ``made_by`` is the Python that makes the encoder, for the calls that the page shows; ``frame`` says who is answered
    and where uploads are kept: this machine alone and a new temporary folder if None.

    Raises: as ``ImageFolder``.
    """
    images = folder if isinstance(folder, ImageFolder) else ImageFolder(folder)
    frame = frame or Frame(Uploads(Path(mkdtemp(prefix="workbench-"))))
    supports = SupportFolder(encoder, images, frame.uploads, made_by)
    app = new_app(
        frame, images.name, lambda: {"kind": "episodes", "episode": _described(supports), **_offered(encoder)}
    )
    _add_pictures(app, supports)

    @app.post("/api/episode")
    def episode(given: EpisodeGiven) -> dict[str, Any]:
        with frame.turn():
            return episode_answer(supports, given.asked())

    @app.post("/api/episode/page")
    def page(given: EpisodeGiven) -> Response:
        with frame.turn():
            return download(page_of(supports, given.asked()), "text/html", "explanation.html")

    @app.post("/api/episode/arrays")
    def arrays(given: EpisodeGiven) -> Response:
        with frame.turn():
            return download(arrays_of(supports, given.asked()), "application/octet-stream", "explanation.npz")

    @app.post("/api/episode/json")
    def numbers(given: EpisodeGiven) -> Response:
        with frame.turn():
            return download(json_of(supports, given.asked()), "application/json", "explanation.json")

    return app


def _add_pictures(app: FastAPI, supports: SupportFolder) -> None:
    @app.get("/api/supports/{number}/picture")
    def of_support(number: int, width: int = 320) -> Response:
        photograph = supports.photograph(f"support:{number}")
        return picture(webp(photograph, width), photograph.size)

    @app.get("/api/supports/{number}/seen")
    def seen_support(number: int) -> Response:
        return picture(_seen(supports, f"support:{number}", None))

    @app.get("/api/seen")
    def seen(query: str, box: str = "") -> Response:
        return picture(_seen(supports, query, box_from_text(box)))


def _seen(supports: SupportFolder, image: str, box: Box | None) -> bytes:
    return webp(from_tensor(visible(supports.encoder, supports.preprocessed(image, box))))


def _described(supports: SupportFolder) -> dict[str, Any]:
    folder, encoder = supports.folder, supports.encoder
    numbers = range(len(folder))
    return {
        "classes": [
            {"name": name, "images": [_image(folder, number) for number in numbers if folder.labels[number] == label]}
            for label, name in enumerate(folder.classes)
        ],
        "rules": [name for name in RULES if name not in NOT_OFFERED],
        "similarities": list(SIMILARITIES),
        "rule": USUAL_RULE,
        "similarity": USUAL_SIMILARITY,
        "encoder": f"{encoder.description}. {random_words(encoder.random)}".removesuffix(". "),
        "text": encoder.text is not None,
    }


def _image(folder: ImageFolder, number: int) -> dict[str, str]:
    name = f"support:{number}"
    return {"image": name, "file": folder.paths[number].name, "picture": f"/api/supports/{number}/picture"}


def _offered(encoder: Encoder) -> dict[str, Any]:
    usual = named_similarity(USUAL_SIMILARITY)
    return {
        "methods": [described(name) for name in offered_methods(encoder, usual)],
        "details": offered_details(encoder),
        "biases": ["drawn", "apart"],
    }
