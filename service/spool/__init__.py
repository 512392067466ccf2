"""Where received objects lie: a folder or an object store, with one face."""
