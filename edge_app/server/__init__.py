"""The server: HTTP, WebSocket and a page around a classifier. Needs the extra ``serve``.

``refusals`` (what is refused, and how) <- ``settings``, ``limits`` (places, bytes, names),
``metrics`` <- ``uploads`` (a body -> a file in memory), ``inference`` (the threads) <- ``streams``
(one WebSocket), ``words`` (what is said, what it might mean) <- ``guard`` (who may come in),
``app`` (the routes) <- ``running`` (uvicorn, stop).
"""
