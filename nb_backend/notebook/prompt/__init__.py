"""Fill in the values of a prompt.

``interpolate``   replace the expressions by their values
``expression``    find the expressions
``scope``         the names that they can use
``values``        a value as text or image
``table_text``    a table as its shape and some rows
``html_text``     the text of HTML
``type_summary``  the type and shape of a value
"""
