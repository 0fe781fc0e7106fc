"""`make chaos`: play the cells within a time bound, keep the results, write docs/reliability.md, end with one line."""

import json
import os
import queue
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from lab import tools
from lab.spec import LabSpec
from tests.chaos.cells import cells, rings
from tests.chaos.faults import FAULTS
from tests.chaos.play import Cell, Result, play
from tests.chaos.scene import built
from tests.chaos.table import document

PAGE = tools.PROJECT / "docs" / "reliability.md"
MINUTES = 25.0
enough = threading.Event()  # somebody asked for the end


class Book:
    """The results so far, a line each in a file, so that the next call goes on."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path = path
        self._turn = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.results = {result.cell: result for result in (Result(**json.loads(line)) for line in lines)}

    def note(self, result: Result) -> None:
        """One more; a lost cell is tried again by the next call."""
        with self._turn:
            self.results[result.cell] = result
            with self.path.open("a") as book:
                book.write(json.dumps(asdict(result)) + "\n")
            told = "LOST: " + "; ".join(result.wrong) if result.wrong else result.outcome
            print(f"{result.seconds:6.1f} s  {result.cell}: {told}", flush=True)


def possible(cell: Cell) -> bool:
    """Whether this user can play it."""
    return os.geteuid() == 0 or not FAULTS[cell.fault].root


def play_lane(kind: str, spec: LabSpec, todo: "queue.SimpleQueue[Cell]", book: Book, end: float) -> None:
    """Play cells of one kind on one ring, until there are no more or the time is over."""
    try:
        with built(spec, kind) as scene:
            while time.monotonic() < end and not enough.is_set():
                book.note(play(scene, todo.get_nowait()))
    except queue.Empty:
        pass


def main() -> int:
    """See the module."""
    end = time.monotonic() + 60 * float(os.environ.get("MINUTES") or MINUTES)
    wanted = [cell for cell in cells() if possible(cell)]
    book = Book(tools.cache() / "chaos" / "results.jsonl", fresh=os.environ.get("FRESH") == "1")
    open_ = [cell for cell in wanted if cell not in book.results or book.results[cell].wrong]
    print(f"{len(wanted)} cells, {len(open_)} of them to play", flush=True)
    todo: dict[str, queue.SimpleQueue[Cell]] = {kind: queue.SimpleQueue() for kind in rings()}
    for cell in open_:
        todo[cell.ring].put(cell)
    threads = [
        threading.Thread(target=play_lane, args=(kind, spec, todo[kind], book, end))
        for kind, specs in rings().items()
        for spec in specs[: todo[kind].qsize()]
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        print("the cells in hand are finished, then it ends", flush=True)
        enough.set()
        for thread in threads:
            thread.join()
    PAGE.write_text(document(book.results, wanted))
    run = [book.results[cell] for cell in wanted if cell in book.results]
    lost = sum(bool(result.wrong) for result in run)
    figures = f"survived={len(run) - lost} cells={len(wanted)} lost={lost}"
    missing = len(wanted) - len(run)
    if lost:
        print(f"chaos lost: {figures}")
    elif missing:
        print(f"chaos unfinished, call it again to go on: {figures} not-run={missing}")
    else:
        print(f"chaos ok: {figures}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
