"""Configurations: every field of every command's settings with values of other kinds and beyond its range, and files
that no parser should trust."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

from faults.hostile.runner import Case, answered
from pydantic import BaseModel

from fsl_explain.cli.app import run
from fsl_explain.config import (
    ComparisonConfig,
    EvaluationConfig,
    FigureConfig,
    MosaicsConfig,
    TrainingConfig,
    read_config,
)
from fsl_explain.config.data import DATA_SETS
from retrieval_explain.settings import BankEvaluationConfig

BASE = 'data = {kind = "digit-scenes"}\n'
NEEDED: dict[type[BaseModel], str] = {
    TrainingConfig: 'output = "weights.safetensors"\n',
    FigureConfig: 'models = [{title = "one", encoder = {name = "conv4net"}}]\n',
}
MODELS = (EvaluationConfig, ComparisonConfig, MosaicsConfig, FigureConfig, TrainingConfig, BankEvaluationConfig)
WRONG = {
    "table": "{unknown_key = 1}",
    "date": "1979-05-27",
    "deep": "[[[[1]]]]",
}
WRONG_NUMBERS = {
    "truth": "true",
    "text": '"5"',
    "nan": "nan",
    "infinite": "-inf",
    "negative": "-1000000000000",
    "huge": str(10**30),
    "digits": "1" * 5000,
}
WRONG_TRUTHS = {"one": "1", "yes": '"yes"'}
WRONG_TEXTS = {"number": "7", "truth": "true"}
UNBOUNDED = ("base",)  # a similarity from which pairs are pulled, of either sign
FREE = ("architecture",)


def cases(folder: Path) -> Iterator[Case]:
    """Yield every field with every wrong value, and hostile files."""
    path = folder / "run.toml"
    for model in MODELS:
        start = BASE + NEEDED.get(model, "")
        path = folder / f"{model.__name__}.toml"
        path.write_text(start)
        yield f"{model.__name__} as it is", partial(read_config, path, model), "taken"
        for key, annotation in fields(model):
            for name, value in wrong(key, annotation).items():
                override = f"{key}={value}"
                yield f"{model.__name__} {key} {name}", partial(read_config, path, model, [override]), "refused"
    for kind, options in DATA_SETS.items():
        path = folder / f"data-{kind}.toml"
        given = "".join(f'{key} = "."\n' for key, field in options.model_fields.items() if field.is_required())
        path.write_text("[data]\n" + given.replace('kind = "."', f'kind = "{kind}"'))
        for key, annotation in fields(options):
            if key != "kind":
                for name, value in wrong(key, annotation).items():
                    change = [f"data.{key}={value}"]
                    yield f"{kind} {key} {name}", partial(read_config, path, EvaluationConfig, change), "refused"
    yield from files(folder)
    yield from chains(folder)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a model's plain values with what each takes, as its JSON schema words it."""
    for key, field in model.model_fields.items():
        inner = next((part for part in (field.annotation, *get_args(field.annotation)) if is_model(part)), None)
        if inner is not None and not field.metadata and key not in ("data", "gallery"):
            yield from fields(inner, f"{prefix}{key}.")
        elif key not in ("data", "gallery", "models", "objective", *FREE):
            yield f"{prefix}{key}", str(field.annotation)


def is_model(part: Any) -> bool:
    """Return whether an annotation is a model of settings."""
    return isinstance(part, type) and issubclass(part, BaseModel)


def wrong(key: str, annotation: str) -> dict[str, str]:
    """Return values in TOML that a field must refuse."""
    values = dict(WRONG)
    if "bool" in annotation:
        return values | WRONG_TRUTHS
    if "int" in annotation or "float" in annotation:
        values |= WRONG_NUMBERS
        if "int" not in annotation:  # a learning rate may be large
            del values["huge"], values["digits"]
        if key.rpartition(".")[2] in UNBOUNDED:
            del values["negative"]
        return values
    return values | WRONG_TEXTS


def files(folder: Path) -> Iterator[Case]:
    """Yield files that are no settings."""
    contents = {
        "empty": b"",
        "no TOML": b"= = =",
        "latin": '[data]\nkind = "für"'.encode("latin-1"),
        "UTF-16": BASE.encode("utf-16"),
        "NUL": b'data = {kind = "digit\0scenes"}',
        "lists 100,000 deep": b"x = " + b"[" * 100_000 + b"]" * 100_000,
        "lists 900 deep": b"x = " + b"[" * 60 + b"]" * 60,
        "tables 100,000 deep": b"[" + b"a." * 100_000 + b"a]\n",
        "dotted 100,000 deep": b"a." * 100_000 + b"a = 1\n",
        "inline 10,000 deep": b"x = " + b"{a = " * 10_000 + b"1" + b"}" * 10_000,
        "5 MB": BASE.encode() + b"# " + b"x" * 5_000_000,
        "100,000 keys": BASE.encode() + b"".join(b"k%d = 1\n" % number for number in range(100_000)),
        "key of 1 MB": BASE.encode() + b"k" * 1_000_000 + b" = 1\n",
        "key twice": BASE.encode() * 2,
        "number of 5,000 digits": BASE.encode() + b"episodes = {count = " + b"9" * 5000 + b"}\n",
        "date that is none": BASE.encode() + b"x = 2024-13-45\n",
        "year that is none": BASE.encode() + b"x = 0000-01-01\n",
        "time zone that is none": BASE.encode() + b"x = 1979-05-27T07:32:00+99:99\n",
        "escape that is none": BASE.encode() + b'x = "\\ud800"\n',
        "carriage returns alone": BASE.replace("\n", "\r").encode() + b"x = 1\r",
        "an empty key": BASE.encode() + b'"" = 1\n',
        "data as a list": b"data = [1, 2]\n",
        "data as a text": b'data = "digit-scenes"\n',
        "kind as a list": b'data = {kind = ["digit-scenes"]}\n',
        "kind as a table": b"data = {kind = {}}\n",
        "architecture as a list": BASE.encode() + b"encoder = {architecture = [1]}\n",
        "size of 10^9": BASE.encode() + b"encoder = {architecture = {size = 1000000000}}\n",
        "size of 10^30": BASE.encode() + b"encoder = {architecture = {size = 1000000000000000000000000000000}}\n",
        "mean of NaN": BASE.encode() + b"encoder = {architecture = {mean = [nan, 0, 0]}}\n",
        "head of 10^9": BASE.encode() + b'encoder = {head = {kind = "linear", width = 1000000000}}\n',
        "mlp of 10^9": BASE.encode() + b'encoder = {head = {kind = "mlp", width = 8, hidden = 1000000000}}\n',
        "head without width": BASE.encode() + b'encoder = {head = {kind = "linear"}}\n',
        "extends a number": BASE.encode() + b"extends = 7\n",
        "extends a list": BASE.encode() + b'extends = ["a.toml"]\n',
        "extends nothing": BASE.encode() + b'extends = ""\n',
        "extends itself": BASE.encode() + b'extends = "file.toml"\n',
        "extends a folder": BASE.encode() + b'extends = ".."\n',
        "extends what is not there": BASE.encode() + b'extends = "none.toml"\n',
        "extends a name of 5,000 letters": BASE.encode() + b'extends = "' + b"a" * 5000 + b'"\n',
        "extends a name with NUL": BASE.encode() + b'extends = "a\\u0000b"\n',
        "extends a device": BASE.encode() + b'extends = "/dev/zero"\n',
    }
    for name, content in contents.items():
        own = folder / name.replace(" ", "-")
        own.mkdir()
        path = own / "file.toml"
        path.write_bytes(content)
        yield name, partial(read_config, path, EvaluationConfig), "refused"
        yield f"{name}, by the command", partial(answered, run, "evaluate", "--config", str(path)), "refused"
    marked = folder / "marked.toml"
    marked.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    yield "byte order mark and CRLF", partial(read_config, marked, EvaluationConfig), "taken"
    overrides = (
        "",
        "=",
        "a",
        ".=1",
        "episodes=1",
        "episodes.count.x=1",
        "a.b.c.d=1",
        "=5",
        "episodes.count=",
        "x" * 10**6,
    )
    for override in (*overrides, "episodes." + "a." * 10_000 + "b=1", "episodes.count=" + "[" * 10_000, "e\0=1"):
        yield f"--set {override[:30]!r}", partial(read_config, marked, EvaluationConfig, [override]), "refused"


def chains(folder: Path) -> Iterator[Case]:
    """Yield chains and circles of files that extend one another."""
    for length, verdict in ((20, "taken"), (40, "refused"), (3000, "refused")):
        own = folder / f"chain-{length}"
        own.mkdir()
        for number in range(length - 1):
            (own / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"\n')
        (own / f"{length - 1}.toml").write_text(BASE)
        yield f"chain of {length}", partial(read_config, own / "0.toml", EvaluationConfig), verdict
    circle = folder / "circle"
    (circle / "other").mkdir(parents=True)
    (circle / "a.toml").write_text('extends = "other/b.toml"\n')
    (circle / "other" / "b.toml").write_text('extends = "../a.toml"\n')
    yield "circle over folders", partial(read_config, circle / "a.toml", EvaluationConfig), "refused"
    (circle / "over.toml").write_text('extends = "other/base.toml"\n')
    (circle / "other" / "base.toml").write_text('[data]\nkind = "image-folder"\nroot = "images"\n')
    there = (circle / "other" / "images").resolve()
    taken = partial(read_config, circle / "over.toml", EvaluationConfig)
    yield "extends another folder", taken, lambda settings: settings.data.root.resolve() == there
