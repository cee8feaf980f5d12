"""Show an answer in the output of a cell.

``view``           a stream and where it is shown
``notebook_view``  the outputs of a notebook's cell
``terminal_view``  a terminal
``section``        one answer as Markdown and as text
``columns``        the layout of several answers
``taken_back``     marks answers whose turns were taken back
``answers``        the list of answers that a cell returns
``formats``        ``-f``
``attached``       the attachments of a prompt
"""
