"""The trainer: from clean DICOM slices to a bundle the gate can serve.

In the order things happen: `datasets` reads slices, `projection` and `degradations` make worse
scans of them, `targets` scores what was lost, `simulation` caches both; `views` and `batches` bring
pictures to a network on `weights`, `losses` and `loop` train it, `fit` for a bundle, `procedures`
as the papers did; `metrics` and `evaluation` measure it, `export` writes the bundle. `phantom`
makes a chest to try a gate on, `figures` draws what the degradations do. Nothing here is imported
by the service.
"""

import os

# As the service does (`service/__init__.py`): ONNX Runtime is not to report to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
