"""A lesson, in this process, until a fact does not hold: reads its name and changes of its cells, writes a verdict."""

import contextlib
import json
import sys

import cells

from tutorial_utils.checks import CheckError

lesson, changes = json.load(sys.stdin)
verdict = ("survived", "")
with contextlib.redirect_stdout(sys.stderr):
    try:
        cells.run(lesson, changes)
    except CheckError as error:
        verdict = ("fact", str(error))
    except Exception as error:
        verdict = ("error", f"{type(error).__name__}: {error}")
print(json.dumps(verdict))
