"""Reading of TOML settings: strict, with one sentence for every mistake."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from episodes.errors import MissingFile, Mistake, WrongType
from episodes.naming import unknown_name
from episodes.text_files import read_text
from fsl_explain.config.numbers import check_kind
from fsl_explain.config.sentences import sentence_of
from fsl_explain.config.toml import toml_value, toml_values

LONGEST_CHAIN = 32
"""Files that extend one another."""
LONGEST_NAME = 1000
MOST_BYTES = 1 << 22
"""Of a configuration file."""


class Settings(BaseModel):
    """Frozen settings in which a misspelled key is an error that names the nearest known one.

    A number is never a truth value or a text, and a truth value never a number; every number is finite.

    Raises: pydantic's ``ValidationError``, a ``ValueError``, for a value that does not fit; of a file ``read_config``
    makes one sentence of it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for key in values:
                if key not in cls.model_fields:
                    raise Mistake(str(unknown_name("key", str(key), cls.model_fields)))
                check_kind(key, cls.model_fields[key].annotation, values[key])
        return values


def _beside_the_config(path: Path, info: Any) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else folder / path


LocalPath = Annotated[Path, AfterValidator(_beside_the_config)]
"""A path that is taken relative to the configuration file that names it."""


def _csv_beside_the_config(name: str, info: Any) -> str:
    return str(_beside_the_config(Path(name), info)) if name.endswith(".csv") else name


SplitName = Annotated[str, AfterValidator(_csv_beside_the_config)]
"""The name of a built-in split, or a CSV file relative to the configuration file that names it."""

PLACES = ("root", "directory", "checkpoint", "relation_checkpoint", "output", "categories")
"""Keys whose values are paths."""
NAMED_BY_FILE = ("split", "categories", "images", "annotations", "table")


def without_places(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of data without where they lie or come from; of a file that matters its name alone."""
    kept = {key: value for key, value in section.items() if key not in ("root", "directory", "source")}
    for key in NAMED_BY_FILE:
        if isinstance(kept.get(key), str) and (key in PLACES or key == "split" or Path(kept[key]).is_absolute()):
            kept[key] = Path(kept[key]).name
    return kept


AnySettings = TypeVar("AnySettings", bound=Settings)


def read_config(path: str | Path, model: type[AnySettings], overrides: Sequence[str] = ()) -> AnySettings:
    """Read a TOML file into settings of a ``model``, such as ``EvaluationConfig``.

    Each of the ``overrides`` is ``section.key=value`` with a TOML value, as in ``["episodes.n_shot=5"]``. A path in an
    override is relative to the current folder, one in a file to that file. A file that begins with
    ``extends = "../other.toml"`` takes the settings of that file and changes some.

    Raises: ``FileNotFoundError`` for a missing file, ``ValueError`` for a file, key or value that is wrong, naming the
    file, the key and the nearest known one; ``TypeError`` for overrides that are no list.
    """
    path = Path(path)
    if isinstance(overrides, str):
        raise WrongType(f"expected a list of overrides, but got {overrides!r}; write [{overrides!r}].")
    values = _values(path, ())
    for override in overrides:
        _override(values, override)
    try:
        return model.model_validate(values, context={"folder": path.parent})
    except ValidationError as error:
        raise Mistake(f"{path}: {sentence_of(error)}") from None


def _values(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return the values of a file, on top of those of the file that it extends."""
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFile(f"expected a configuration file, but {path} {what}.")
    values = toml_values(_text(path), path)
    if "extends" not in values:
        return values
    name = values.pop("extends")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise Mistake(f"{path}: [extends] expected the path of another file in quotes, but got {str(name)[:80]!r}.")
    if len(above) + 1 >= LONGEST_CHAIN:
        raise Mistake(f"{path}: expected up to {LONGEST_CHAIN} files that extend one another, but got more; merge some")
    extended = path.parent / name
    if extended.resolve() in {file.resolve() for file in (path, *above)}:
        raise Mistake(f"{path}: expected extends to name another file, but got {name!r}.")
    below = _values(extended, (path, *above))
    if extended.parent != path.parent:
        below = {key: _from(extended.parent.resolve(), key, value) for key, value in below.items()}
    return _merged(below, values)


def _text(path: Path) -> str:
    try:
        return read_text(path, "configuration file", MOST_BYTES)
    except Mistake as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise Mistake(f"{path} is no TOML file: {error}") from error
        raise


def _merged(below: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Lay values over others, section by section."""
    merged = dict(below)
    for key, value in values.items():
        under = below.get(key)
        merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    *sections, key = name.strip().split(".")
    if not equals or not key:
        raise Mistake(f"expected section.key=value, but got {text!r}, for example episodes.n_shot=5.")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise Mistake(f"expected a section, but {section!r} in {text!r} is a value.")
        values = inner
    values[key] = _from(Path.cwd(), key, toml_value(value))


def _from(folder: Path, key: str, given: Any) -> Any:
    """Take paths relative to a folder, also those in a table or in a list of tables."""
    if isinstance(given, dict):
        return {inner: _from(folder, inner, value) for inner, value in given.items()}
    if isinstance(given, list):
        return [_from(folder, key, value) if isinstance(value, dict) else value for value in given]
    if isinstance(given, str) and (key in PLACES or (key == "split" and given.endswith(".csv"))):
        return str(folder / given)
    return given
