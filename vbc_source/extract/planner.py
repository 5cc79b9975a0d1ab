"""Which lists and windows a run reads, and in which order. Pure: state and time are passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vbc_source.extract.lists import ReadTask
from vbc_source.extract.state import ResourceRun
from vbc_source.windows import Window


class ReadPlanner:
    """Plans one run of a resource."""

    def __init__(self, run: ResourceRun) -> None:
        self._run, self._cursors = run, run.cursors
        self._progress = self._cursors.read_progress(run.source_id)

    def select(self, tasks: Sequence[ReadTask]) -> list[ReadTask]:
        """Return the lists that no earlier run of this source has read to their end."""
        return [task for task in tasks if self._progress.includes(str(task.owner))]

    def plan(self, tasks: Sequence[ReadTask]) -> list[ReadTask]:
        """Plan the windows of lists; those without a cursor come first, then those left unread before."""
        planned = [task for task in map(self.plan_list, tasks) if task]
        unread = self._cursors.unread
        planned.sort(key=lambda task: str(task.owner) not in unread)
        if self._run.endpoint.windowed:
            planned.sort(key=lambda task: self._cursors.find(task.expected) is not None)
        return planned

    def plan_list(self, task: ReadTask) -> ReadTask | None:
        """Plan the window of a list; None where there is nothing to read."""
        name, run = str(task.owner), self._run
        expected = task.expected or self._cursors.expect(name, task.owner.is_self)
        if not run.endpoint.windowed:
            return replace(task, expected=expected)
        window = run.window or None
        if run.incremental:
            config = run.config
            window = self._cursors.plan(expected, config.first_start(run.now), run.now, config.lookback)
            if window and (reached := self._progress.reached.get(name)):
                # an earlier run of this source has read the lookback already
                window = Window(max(window.start, reached), window.end)
        window = run.config.api_filters.narrow(window)
        return replace(task, expected=expected, window=window) if window else None
