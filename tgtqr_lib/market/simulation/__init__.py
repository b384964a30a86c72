"""The rooms behind `market/simulator.py`: the two markets it shows, Bybit's grammar, and what can go wrong."""
