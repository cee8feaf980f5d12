"""A chat as the items of a page: one item for each message.

``arrange``      which items there are, and in which order
``content``      what an item shows, as text
``steps``        the steps of an answer as HTML
``answer_blocks``  a text as HTML, with the steps at their places
``fixes``        the buttons that repair a failed turn
``items``        the items as HTML, and what a page does not have yet
``block_diff``   the difference between two lists of HTML blocks
``throttle``     how often a growing answer is sent
``image_store``  the images of the items
"""
