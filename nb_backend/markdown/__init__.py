"""Make a model's Markdown safe to show: as Markdown for a cell's output, as HTML for the panel.

``safe``       rewrite Markdown so that nothing in it acts
``inline``     the text inside a paragraph, heading or table cell
``emphasis``   pair the delimiters of emphasis in a text with many of them
``effort``     limit what a text may cost the page that shows it
``elements``   safe code, formulas and one-line text
``links``      destinations of links and images
``scan``       find formulas and bare URLs
``parser``     find blocks, with markdown-it-py
``data_uris``  images in base64 inside a text
``images``     an answer's text together with its images
``split``      cut a long or growing answer into pieces
``html``       safe HTML for the panel
"""
