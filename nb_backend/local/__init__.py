"""The embedded backend: a small model on this machine, served by a process of its own (``process.ensure_running``)."""
