"""The commands of ``edge-app``, one module each: a new one is a module and a line below.

A module has ``add_arguments(command)``, which describes the command to its parser, and
``run(options)``, which returns its exit status. Only the module of the command that was asked for
is imported.
"""

from typing import Final

COMMANDS: Final = {
    "predict": "files, folders, globs, standard input -> emotions",
    "listen": "a microphone or standard input -> emotions, live",
    "serve": "a page, HTTP and WebSocket: files and live sound -> emotions",
    "explain": "a sound -> an image of what made the model say so",
    "embed": "sounds -> vectors, the input of the network's last layer",
    "archive": "a million clips -> Parquet, on all cores or a cluster",
    "enroll": "clips of a person -> a profile for predict --profile",
    "profiles": "list the profiles",
    "devices": "what a model can run on here, and what is missing for the rest",
    "bench": "how fast a model is on a device",
    "completion": "a script that completes commands and options in your shell",
}
"""Name -> summary, in the order of ``edge-app --help``."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
