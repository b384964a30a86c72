"""The page: a Voila notebook of widgets, and the server that puts a header and a stop button around it."""
