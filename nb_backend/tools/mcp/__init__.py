"""Servers of the Model Context Protocol (MCP), whose tools a model may call.

``connections``   connects to servers, keeps them by their names, and ends them
``server``        a server that runs, and its tools
``process``       the transport to a command
``http``          the transport to a url
``streams``       what both share
``listing``       makes safe what a server lists
``results``       makes a value of what a call returned

The official SDK is imported when a server is connected, not before: that takes a second.
"""

from .connections import connect as connect
from .connections import connected as connected
from .connections import disconnect as disconnect
from .connections import follow as follow
