"""Fill in the values of a prompt.

``interpolate``   replace the expressions by their values
``expression``    find the expressions
``scope``         the names that they can use
``type_summary``  the type and shape of a value
"""
