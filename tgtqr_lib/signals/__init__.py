"""One indicator a file: arrays of shape (n,) in, an array of shape (n,) out, exact and pure."""
