"""Pure: verdicts in, a Structured Report and a summary image out, as complete file bytes."""
