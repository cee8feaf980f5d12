"""Ask models from Jupyter: the magics, the live cell and the panel.

``magic/``       ``%%backend`` and ``%backend``
``prompt/``      the values of a prompt
``cell/``        an answer in the output of a cell
``panel/``       the chat panel
``errors``       errors of a cell in one line
``hints``        what the first answers of the embedded backend mention
``outputs``      what recent cells and output widgets show
``progress``     progress events
``report``       the output of a command
``status_line``  the line under an answer
``waiting``      how a cell waits for a stream
"""
