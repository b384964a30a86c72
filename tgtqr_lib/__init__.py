"""TGT QR: a research and paper-trading kit for Bybit, built around archived notebooks."""

__version__ = "0.1.0"
