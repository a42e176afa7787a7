"""The error of a verb that ends with another exit status than 2."""

from __future__ import annotations


class CommandError(Exception):
    """Work that failed though the command line was right; the message is one sentence.

    Parameters
    ----------
    message : str or Exception
    status : int
        Exit status of the program.
    """

    def __init__(self, message: str | Exception, status: int = 1) -> None:
        super().__init__(str(message))
        self.status = status
