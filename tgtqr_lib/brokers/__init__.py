"""One broker a file; this dict is all there is."""

from tgtqr_lib.brokers.paper import PaperBroker

BROKERS = {
    "paper": PaperBroker,
}
