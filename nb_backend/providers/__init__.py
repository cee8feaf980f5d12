"""Providers: a class for each dialect, which sends a prompt to a server and streams the answer as events.

- ``base``           base classes: one POST, answered by a stream of events
- ``backend_api``    the dialect of g4f's backend API and of the embedded backend
- ``openai_api``     the dialect of OpenAI's chat completions
- ``gemini_api``     the dialect of Google's Gemini API; its body, reader and sources are in ``gemini_…``
- ``responses_api``  the dialect of OpenAI's responses; its body, reader and items are in ``responses_…``
- ``anthropic_api``  the dialect of Anthropic's Messages API; its body, reader and refusals are in ``anthropic_…``
- ``registry``       the table of dialects, and the provider class for a server
- ``model``          a model that a server lists
- ``catalog``        model lists of servers, cached, and whether a model has vision
- ``probe``          which servers on this machine answer now
- ``common_fields``  keywords of a call that every dialect translates
- ``unknown_model``  a model that a server does not have, and the names that are close to it
- ``decoder``        bytes to events, line by line
- ``fast_path``      bytes to events in the usual framings, faster
- ``json_events``    JSON texts to events
- ``json_pieces``    objects in texts that are not one JSON object each
- ``stream_errors``  errors that are told within a stream
- ``finish_reasons`` which finish reasons mean that an answer is complete
- ``reader``         events of an answer, and how the answer ended
- ``secret_filter``  masks keys that a server repeats
- ``retry``          retries and failover to other servers
"""
