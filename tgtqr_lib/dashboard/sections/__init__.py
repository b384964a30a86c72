"""One section of the page a file; `page.py` lists them in their order."""
