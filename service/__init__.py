"""The gate: a daemon that receives DICOM series and says whether they are good enough to read.

Rooms, in the order an image passes them: `receive`, `score`, `judge`, `report`, `deliver`.
They meet only through `ledger`; `judge` and `report` are pure. Nothing here imports torch
or the trainer.
"""
