"""The command ``ser-edge``: one file a verb, which parses, calls the library and prints.

:mod:`ser_edge.cli.main` lists the verbs and imports only the one that is run.
It may import every package of ser_edge, and the edge app.
"""
