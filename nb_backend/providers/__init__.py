"""HTTP out: the providers that stream an answer, and what they are made of."""
