"""Neighbors in a file, in the format that its name ends in: JSON, CSV or Parquet."""

import csv
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from episodes.errors import Mistake
from fsl_explain.files import written_aside

ENDINGS = (".json", ".csv", ".parquet")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a text that begins with one of them


def check_ending(out: Path | None) -> None:
    """Refuse a file name that ends in no format of ours. Raises: ``ValueError``."""
    if out is not None and out.suffix.lower() not in ENDINGS:
        raise Mistake(f"expected a file that ends in {', '.join(ENDINGS)}, but got {out}; rename it.")


def write_json(value: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file aside and rename it.

    Raises: ``ValueError`` where the path is a folder.
    """
    if path.is_dir():
        raise Mistake(f"expected a file for the results, but {path} is a folder; add a name like neighbors.json.")
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_records(asked: Mapping[str, Any], records: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write one record for each neighbor, aside and then renamed; JSON also holds what was asked.

    In CSV a text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    check_ending(out)
    if out.suffix.lower() == ".json":
        write_json({**asked, "neighbors": list(records)}, out)
        return
    with written_aside(out) as aside:
        (_write_csv if out.suffix.lower() == ".csv" else _write_parquet)(records, aside)


def _write_csv(records: Sequence[Mapping[str, Any]], out: Path) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(records[0])
        table.writerows([_cell(value) for value in record.values()] for record in records)


def _write_parquet(records: Sequence[Mapping[str, Any]], out: Path) -> None:
    pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist([dict(record) for record in records]), out)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
