"""The server: HTTP, WebSocket and a page around a classifier. Needs the extra ``serve``.

``errors``, ``settings`` <- ``admission`` (slots, bytes), ``metrics`` <- ``uploads`` (files in
memory), ``inference`` (threads) <- ``streams`` (WebSocket), ``annotations`` (transcription,
interpretation) <- ``service`` <- ``routes``, ``access`` (host, origin, token) <- ``app`` <-
``lifecycle`` (uvicorn).
"""
