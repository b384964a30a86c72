"""One broker a file. This dict holds those that fill at once, from a quote; `bybit.py` has to look its fills up."""

from tgtqr_lib.brokers.paper import PaperBroker

BROKERS = {
    "paper": PaperBroker,
}
