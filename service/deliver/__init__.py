"""The outbox to its destinations: PACS by C-STORE, a folder; retried until it is there."""
