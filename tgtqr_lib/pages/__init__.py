"""Executed notebooks as HTML pages that load nothing, run nothing and can be read on a phone."""

from tgtqr_lib.pages.notebook_page import CSS, Heading, page_of

__all__ = ["CSS", "Heading", "page_of"]
