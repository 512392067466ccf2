"""The networks the trainer fits and exports; torch lives here and nowhere else in `models`."""
