"""Reranking: a model reads the question and a text together, and says how well the one answers the other."""
