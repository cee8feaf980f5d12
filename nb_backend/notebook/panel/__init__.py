"""The chat panel: a chat as a widget.

From the model's events to the page there are three steps: ``watcher`` sees the chat change, ``items/`` renders what
changed as HTML, and ``page_sync`` sends the differences. ``handlers/`` answers the requests of the pages.

``widget``               ``ChatPanel``, what the user creates
``widget.js``            the page: shows the items and sends requests; its modules are in ``page/``
``page_module``          joins them to one module
``widget.css``           its style, in the colors of the front end
``controller``           the kernel's side of one panel: prompts, settings, draft, end
``watcher``              the chat that is shown, observed from any thread
``page_sync``            keeps the pages in step with the chat
``outbox``               messages to the pages, numbered and limited in size
``comm``                 the connection to the pages, independent of any cell
``loop_tasks``           work on the background loop, outside any cell
``uploads``              images that arrive in chunks
``chat_settings``        the settings that a page shows and changes
``panel_state``          what outlives a panel: drafts, failed turns, cell numbers
``saved_transcript``     the transcript as a second output of the cell
``transcript_markdown``  its Markdown
``record``               what the notebook holds for a new kernel, and how it comes back
``earlier``              the transcript of an earlier version, made safe again
``error_text``           errors as one line without keys
``items/``               a chat as the items of a page
``handlers/``            one function for each type of request
"""
