"""Messages to the owner: what is said (`messages`), when (`policy`), what is kept (`state`), and how it is
sent (`addresses`, `outbox`).

A beat writes messages into the state in `data/alerts.json` and starts a process that sends them; it never waits
for one. What could not be sent stays there and is tried again.
"""
