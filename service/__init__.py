"""The gate: a daemon that receives DICOM series and says whether they are good enough to read.

Rooms, in the order an image passes them: `receive`, `score`, `judge`, `report`, `deliver`.
They meet only through `ledger`; `judge` and `report` are pure. Nothing here imports torch
or the trainer.
"""

import os

# Frames are drawn side by side by threads of the gate's own; OpenBLAS's would fight them, and the
# engine, for the same cores (a slice on a busy host: 540 ms with them, 40 ms without).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# ONNX Runtime (seen with 1.31.1) gives the host a device id when it is imported and reports to its
# maker; nothing leaves a gate but reports to the peers that are configured.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
