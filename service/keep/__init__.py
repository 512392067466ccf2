"""Housekeeping: what is removed when, what is swept up, what is counted."""
