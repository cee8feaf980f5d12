"""The magics ``%%backend`` and ``%backend``.

``magics``          the magic, and what happens before and after a cell
``extension``       load and unload
``transform``       rewrite cells before IPython reads them
``line``            split the line, refuse keys on it
``options``         every option, declared once
``option_values``   the types of their values
``completion``      Tab
``question``        what a cell asks
``several``         several models
``dry_run``         ``--dry-run``
``fix``             ``%backend fix``
``verbs``           which command a line of ``%backend`` means, or that it is a prompt
``commands``        the other commands of ``%backend``
``local_model``     ``%backend local``
``restore``         ``%backend restore``
``setting_traits``  ``%config``
"""
