"""The bytes behind one web address, in memory, with limits on their number and on silence.

Which addresses, and what is expected there, is for others to say.
"""

import queue
import threading

from fastmlp.errors import DatasetUnavailable

CONNECT_SECONDS = 3.0
# What has to arrive within the patience of the caller. Smaller pieces would let a trickling server go on for ever.
PIECE = 1 << 14


class Download:
    """The body behind an address, received in memory by a thread of its own.

    The thread can be left behind: name lookup and reads of a trickling server know no limit that would end them in time.
    """

    def __init__(self, url: str, limit: int, patience: float) -> None:
        self._url = url
        self._limit = limit
        self._patience = patience
        self._data = bytearray()
        self._left_behind = False
        self._result: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    @property
    def silent(self) -> bool:
        """Return whether nothing has been received."""
        return not self._data

    def body(self) -> bytearray:
        """Return the whole body; DatasetUnavailable says why there is none."""
        threading.Thread(target=self._receive, daemon=True).start()
        received = 0
        while True:
            try:
                error = self._result.get(timeout=self._patience)
            except queue.Empty:
                if len(self._data) > received:
                    received = len(self._data)
                    continue
                self._left_behind = True
                raise DatasetUnavailable(f"sent nothing for {self._patience:g} s, after {received:,} bytes") from None
            if error is not None:
                raise DatasetUnavailable(_innermost(error)) from error
            return self._data

    def write(self, piece: bytes) -> None:
        """Take a piece of the body, as a file would."""
        if self._left_behind or len(self._data) + len(piece) > self._limit:
            raise ValueError(f"expected at most {self._limit:,} bytes, found more")
        self._data += piece

    def flush(self) -> None:
        """Do nothing, as a file without a buffer would."""

    def _receive(self) -> None:
        try:
            import pooch

            pooch.HTTPDownloader(chunk_size=PIECE, timeout=(CONNECT_SECONDS, self._patience))(self._url, self, None)
        except Exception as error:  # whatever it is, the waiting thread has to hear of it
            self._result.put(error)
        else:
            self._result.put(None)


def _innermost(error: BaseException) -> str:
    """Return the reason at the bottom of a chain of exceptions: the HTTP library wraps "Connection refused" four times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
