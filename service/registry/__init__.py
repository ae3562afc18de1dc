"""The shared kernel: what a model, a version, a deletion request and a job are, and what may happen to them.

Both processes import it, the HTTP service and the worker, so nothing here knows HTTP or torch.
Functions take an open session and never commit; whoever opened the session does, once.
"""
