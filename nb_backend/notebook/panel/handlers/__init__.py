"""The requests of a page: one function for each type.

``router``        finds the function and sends the reply; requests about the page itself
``page_request``  a request and its fields
``turns``         send, stop, retry, edit, delete, clear
``chats``         switch, new, export, models, settings, draft
``attachments``   upload, attach and remove images; the images of the chat
``restore``       what a page found of earlier panels in the notebook
``figures``       the images that recent cells show
"""
