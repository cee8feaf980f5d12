"""Many prompts at once, as concurrent requests (not by a provider's Batch API).

``api``        ``map`` and ``compare``
``awaitable``  a call that works with and without ``await``
``runner``     workers that send the prompts; keeps the answers of a call that was stopped
``template``   ``{{ name }}`` filled with a row's values
``tables``     lists, Series and DataFrames in, the same out
``progress``   the bar, and the line that stays
"""
