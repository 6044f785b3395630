"""Long work that says how far it is: lines of JSON, of which the last has the answer or the error."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from episodes.errors import Mistake
from fsl_explain.progress import Report
from fsl_explain.serve.frame import Frame

FAULT = "The server failed on this request, which is a fault of ours; its terminal says more."


def as_lines(frame: Frame, work: Callable[[Report], dict[str, Any]]) -> Iterator[str]:
    """Do the work at its turn, in a thread of its own, and yield a line for each step that it tells of."""
    told: queue.Queue[dict[str, Any] | None] = queue.Queue()
    done: dict[str, int] = {}

    def report(stage: str, more: int, total: int) -> None:
        done[stage] = done.get(stage, 0) + more
        told.put({"progress": {"stage": stage, "done": done[stage], "total": total}})

    def run() -> None:
        try:
            with frame.turn():
                report("working", 0, 0)
                told.put({"result": work(report)})
        except Mistake as error:
            told.put({"error": str(error)[:1].upper() + str(error)[1:]})
        except BaseException:
            told.put({"error": FAULT})
            raise
        finally:
            told.put(None)

    threading.Thread(target=run, daemon=True).start()
    while (line := told.get()) is not None:
        yield json.dumps(line) + "\n"
