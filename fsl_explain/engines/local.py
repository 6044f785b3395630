"""The engine that works part after part in this process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsl_explain.engine import EngineOptions, Make, Part, Result, Say, Work, to_stderr
from fsl_explain.engines.shards import Shards

USUAL = EngineOptions()


@dataclass(frozen=True)
class LocalEngine:
    """Parts in their order, one at a time; with a folder those that are there already are not made again.

    ``say`` is told in sentences what is wrong with finished parts that are made again.
    """

    folder: Path | None = None
    run: str = ""  # fingerprint of everything that the results depend on beside the part
    say: Say = to_stderr
    options: EngineOptions = USUAL  # of which it needs none

    def map(self, make: Make, parts: Iterable[Part]) -> Iterator[tuple[int, Result]]:
        """Yield the position of each part and its result. ``make`` is called when the first part has to be made.

        Raises: what the work raises.
        """
        shards = None if self.folder is None else Shards(self.folder, self.run, self.say)
        work: Work | None = None
        for position, part in enumerate(parts):
            result: Result | None = None if shards is None else shards.load(part)
            if result is None:
                work = make() if work is None else work
                result = work(part)
                if shards is not None:
                    shards.save(part, result)
            yield position, result
