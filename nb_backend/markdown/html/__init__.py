"""Render a model's Markdown as safe HTML for the panel.

``blocks``    a text that grows, block by block
``block``     one block, from its tokens
``parser``    rules of markdown-it-py: formulas, links, bare URLs
``code``      highlighted code, with Pygments
``math``      formulas as MathML, with latex2mathml
``sanitize``  remove what is not allowed, with nh3
"""
