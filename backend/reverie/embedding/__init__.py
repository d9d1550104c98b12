"""Text to vectors: the embedders behind one protocol, and the encoder through which the service uses them."""
