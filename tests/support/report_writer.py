"""A process that stores reports and notes each acknowledged batch; made to be killed and started again.

`python -m tests.support.report_writer URL FILE NAME BATCHES`. Like a device, it sends a batch again until it
is acknowledged, also after it was killed between the commit and the note.
"""

import sys
import time
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from acclimate.errors import RolloutError
from acclimate.rollout.store import SqlStore, open_store
from tests.support.rollout_samples import a_report

BATCH = 20


def main() -> None:
    url, file, name, batches = sys.argv[1:]
    notes = Path(file)
    done = len(notes.read_text().splitlines()) if notes.exists() else 0
    store = _patiently(lambda: open_store(url))
    with notes.open("a") as acknowledged:
        for batch in range(done, int(batches)):
            rows = [a_report(name, batch * BATCH + number) for number in range(BATCH)]
            _patiently(lambda rows=rows: store.add_reports(rows))
            acknowledged.write(f"{batch}\n")
            acknowledged.flush()


def _patiently(call) -> SqlStore:
    while True:
        try:
            return call()
        except (DBAPIError, RolloutError):
            time.sleep(0.02)


if __name__ == "__main__":
    main()
