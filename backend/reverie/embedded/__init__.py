"""PostgreSQL and Redis from wheels, for a machine that has neither, in one process tree with the API and the worker.

``supervisor.running`` is the way in; ``home`` is the folder where everything lies, ``account`` who runs the servers.
"""
