"""What failed is left alone for a moment, so that requests do not wait for it one by one."""

import time


class Breaker:
    """Says whether a part may be asked.

    After a failure nobody asks for ``pause`` seconds. Then one does, alone for as long as ``trial`` seconds, and the
    others follow when it was answered.
    """

    def __init__(self, pause: float, trial: float) -> None:
        self.doubtful = False
        """Whether the last that is known of the part is a failure."""
        self._pause = pause
        self._trial = trial
        self._closed_until = 0.0

    def ask(self) -> bool:
        """Whether the caller may ask; who may tells afterwards whether it :meth:`answered` or :meth:`failed`."""
        now = time.monotonic()
        if now < self._closed_until:
            return False
        if self.doubtful:
            self._closed_until = now + self._trial
        return True

    def answered(self) -> None:
        """The part is well."""
        self.doubtful = False
        self._closed_until = 0.0

    def failed(self) -> None:
        """The part failed, or took too long."""
        self.doubtful = True
        self._closed_until = time.monotonic() + self._pause
