"""The chat panel: a conversation as a widget. ``panel`` is the widget, ``host`` what it knows and does in the kernel,
``view`` the conversation as items, ``widget.js`` the page.
"""
