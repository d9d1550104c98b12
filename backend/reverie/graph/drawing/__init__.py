"""A part of a graph as pictures and files. Pure."""
