"""Where prices come from: sources of candles, and a local exchange that serves them."""
