"""What the manifest of a bank may say. A bank may come from anybody: every value is of one type and in a range."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, FailFast, Field, field_validator, model_validator

MOST_ROWS, MOST_CHANNELS, LONGEST_TEXT, MOST_KEYS = 2**40, 2**24, 100_000, 100
LABELS, NAMES, NUMBERS = "labels", "names", "numbers"  # a bank's note: whether its labels are names or numbers
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class Manifest(BaseModel, extra="forbid", frozen=True, strict=True):
    """What a version of a bank is: its shape, how it was made, and the SHA-256 of each part of it."""

    format: int = Field(1, ge=1, le=1)
    rows: int = Field(ge=0, le=MOST_ROWS)
    channels: int = Field(ge=1, le=MOST_CHANNELS)
    dtype: Literal["float32", "float16"]
    similarity: Text
    encoder: Text
    preprocessing: Text
    block_rows: int = Field(ge=1, le=MOST_ROWS)
    block_sha256: Annotated[tuple[Sha256, ...], FailFast(), Field(strict=False)]  # JSON has lists
    header_sha256: Sha256
    rows_bytes: int = Field(ge=1, le=2**50)
    rows_sha256: Sha256
    versions: dict[str, str]
    notes: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _has_few_keys(cls, values: Any) -> Any:
        """Refuse a million keys at once, for each would be an error of its own."""
        for mapping in (values, values.get("versions"), values.get("notes")) if isinstance(values, dict) else ():
            if isinstance(mapping, dict) and len(mapping) > MOST_KEYS:
                raise ValueError(f"at most {MOST_KEYS} values")
        return values

    @field_validator("notes")
    @classmethod
    def _tells_names_from_numbers(cls, notes: dict[str, Any]) -> dict[str, Any]:
        if notes.get(LABELS, NAMES) not in (NAMES, NUMBERS):
            raise ValueError("labels are names or numbers")
        return notes

    @model_validator(mode="after")
    def _has_a_hash_for_each_block(self) -> "Manifest":
        if len(self.block_sha256) != -(-self.rows // self.block_rows):
            raise ValueError("block_sha256 has one hash for each block of rows")
        return self
