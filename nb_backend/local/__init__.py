"""The embedded backend: a small model on this machine, served over HTTP by a process of its own.

``process``  starts it from a kernel or a script, and ends it with that
``__main__``  the command ``nb-backend``
``app``  the HTTP application, g4f's backend API
``validation``  limits on a request's body
``engine``  what an engine is, and the events that it yields
``llama``  the engine that runs a model with llama.cpp
``special_tokens``  the special tokens of a model, written as text
``gguf_metadata``  what a model's file says about it
``lazy_engine``  the engine that fetches and loads its model on first use
``weights``  the file of the default model
``gguf_files``  which file of a repository on the Hugging Face hub is meant
``hub``  the files of other models, from the Hugging Face hub
``scripted``  the engine that follows a script, for tests
"""
