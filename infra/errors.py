"""The errors a user is meant to read.

A `SluiceError` is one line: what is wrong, where, and what to do about it. The command line prints it
without a traceback (unless `--debug`) and exits with status 1; anything else that escapes is a defect of ours.
"""


class SluiceError(Exception):
    """Something the user can mend. The message is one complete, self-explanatory line."""


class BadInput(SluiceError):
    """A file, folder, artifact or record set that cannot be used as it is."""


class BadConfig(SluiceError):
    """A parameter that is unknown, of the wrong type or out of range."""


class EnvironmentProblem(SluiceError):
    """The machine lacks something (Java, g++, disk, a port); the message says how to mend it."""
