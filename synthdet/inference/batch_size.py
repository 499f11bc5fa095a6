"""How many images go into one call of a model: found on the run's own first batches."""

import math

_CALLS = 3  # of each size; the first one, in which the run time gets its memory, does not count
_GAIN = 1.03  # least gain in speed that a doubled batch must bring


class BatchSize:
    """Doubles the batch while that makes an image cheaper; pure logic on times that it is told.

    What is best depends on the network and on caches that nobody has listed: a small network on a
    CPU is fastest one image at a time, a large GPU wants hundreds.

    Attributes:
        size: images in the next call.
        settled: whether the search is over.
    """

    def __init__(self, first: int, most: int) -> None:
        self.size = min(first, most)
        self.settled = self.size == most
        self._most = most
        self._best, self._rate = self.size, 0.0
        self._calls, self._fastest = 0, math.inf

    def observe(self, pictures: int, seconds: float) -> None:
        """A call with so many images took so long; smaller ones, at the end, say nothing."""
        if self.settled or pictures != self.size:
            return
        self._calls += 1
        if self._calls > 1:
            self._fastest = min(self._fastest, seconds)
        if self._calls == _CALLS:
            self._decide(pictures / max(self._fastest, 1e-9))

    def settle(self, size: int) -> None:
        """End the search: memory ran out, or someone knows better."""
        self.size, self.settled = size, True

    def _decide(self, rate: float) -> None:
        if rate < _GAIN * self._rate:
            self.settle(self._best)
        elif self.size == self._most:
            self.settle(self._most)
        else:
            self._best, self._rate = self.size, rate
            self.size = min(2 * self.size, self._most)
            self._calls, self._fastest = 0, math.inf
